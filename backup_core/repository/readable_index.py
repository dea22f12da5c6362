"""The whole index of a repository that may be damaged: what can be read of it, for whoever looks or brings back.

A backup must not use it: to it, a chunk that a damaged index file names is one that is not stored.
"""

from collections.abc import Callable

from backup_core.errors import Damaged, NotFound
from backup_core.repository.blobs import LoadedIndex
from backup_core.repository.index import load_index
from backup_core.repository.repository import Repository

OnDamage = Callable[[str, Damaged | NotFound], None]


def load_readable_index(repository: Repository, on_damage: OnDamage, trees_only: bool = False) -> LoadedIndex:
    """As `LoadedIndex.load`, but an index file that is damaged is told to `on_damage`, with its id, and left out.

    What it alone names is then in no index, and whoever asks for it learns so.
    """
    try:
        return LoadedIndex.load(repository, trees_only)
    except Damaged:
        index = LoadedIndex()
    for index_id in repository.ids("index"):
        try:
            for pack in load_index(repository, index_id):
                index.add(pack, trees_only)
        except (Damaged, NotFound) as error:
            on_damage(index_id, error)
    return index
