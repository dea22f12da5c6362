"""A reader who follows the delta feed, through any history and in any mode, ends with what the drive holds."""

import contextlib
import datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st


class Mirror:
    """A reader that knows what the documentation promises: last entry wins, ids and parents, tombstones at the end."""

    def __init__(self) -> None:
        self.known: dict[str, dict[str, Any]] = {}
        self.link = ""

    def read(self, graph: Any, between_pages: Any = None) -> None:
        link, last = self.link or graph.on_drive("/root/delta"), {}
        while True:
            page = graph.get(link)
            for entry in page["value"]:
                last.pop(entry["id"], None)
                last[entry["id"]] = entry
            if "@odata.deltaLink" in page:
                break
            link = page["@odata.nextLink"]
            if between_pages:
                between_pages()
        self.link = page["@odata.deltaLink"]
        self.known |= last
        self.known = {key: entry for key, entry in self.known.items() if "deleted" not in entry}

    def tree(self) -> dict[str, tuple[int, str]]:
        """Path -> size and hash of what hangs together from the root; what was below a deleted folder does not."""
        found = {}
        for key, entry in self.known.items():
            names: list[str] = []
            while "root" not in self.known.get(key, {"root": 0}):
                names.append(self.known[key]["name"])
                key = self.known[key]["parentReference"]["id"]  # noqa: PLW2901
            if key in self.known and names:
                quickxor = entry.get("file", {}).get("hashes", {}).get("quickXorHash", "")
                found["/".join(reversed(names))] = (entry["size"] if "file" in entry else -1, quickxor)
        return found


def tree_of(graph: Any) -> dict[str, tuple[int, str]]:
    drive = graph.drive
    files = {path: (item.size, item.quickxor if item.size else "") for path, item in drive.files()}
    return files | {path: (-1, "") for path, _ in drive.folders()}


HISTORY = st.lists(st.tuples(st.sampled_from("ppffmnndrt"), st.integers(0, 4), st.integers(0, 4)), max_size=25)
MODES = st.fixed_dictionaries(
    {
        "page_jitter": st.booleans(),
        "repeats": st.booleans(),
        "children_first": st.booleans(),
        "tombstones_first": st.booleans(),
        "descendant_tombstones": st.booleans(),
        "catch_up": st.booleans(),
        "tombstone_leftovers": st.booleans(),
        "page_size": st.integers(1, 9),
    }
)


def act(graph: Any, bin_: list[Any], verb: str, one: int, other: int) -> None:
    drive = graph.drive
    folders, files = drive.folders(), drive.files()
    with contextlib.suppress(FileNotFoundError, FileExistsError, ValueError, IndexError):
        if verb == "p":
            drive.put_file(f"{folders[one][0]}/f{other}" if one < len(folders) else f"f{other}", bytes(one + 2 * other))
        elif verb == "f":
            drive.make_folder(f"{folders[one][0]}/d{other}" if one < len(folders) else f"d{other}")
        elif verb == "m":
            drive.move((folders + files)[one][0], folders[other][0])
        elif verb == "n":
            drive.rename((folders + files)[one][0], f"n{other}")
        elif verb == "d":
            bin_.append(drive.delete((folders + files)[one][0]))
        elif verb == "r":
            drive.restore(bin_.pop())
        else:
            drive.set_modified(files[one][0], drive.root.created - datetime.timedelta(days=other))


@given(first=HISTORY, second=HISTORY, meanwhile=HISTORY, modes=MODES)
def test_a_reader_of_the_feed_always_ends_with_the_drive(
    make_graph: Any, first: list[Any], second: list[Any], meanwhile: list[Any], modes: dict[str, Any]
) -> None:
    """After any history, in any mode, with changes between the pages: one more quiet reading and both agree."""
    graph, mirror, bin_ = make_graph(), Mirror(), []
    for name, value in modes.items():
        setattr(graph.switches, name, value)
    waiting = list(meanwhile)

    def disturb() -> None:
        if waiting:
            act(graph, bin_, *waiting.pop())

    for history in (first, second, []):
        for step in history:
            act(graph, bin_, *step)
        mirror.read(graph, disturb)
        if not waiting and modes["catch_up"]:
            assert mirror.tree() == tree_of(graph)
    waiting.clear()
    mirror.read(graph)
    assert mirror.tree() == tree_of(graph)
    fresh = Mirror()
    fresh.read(graph)
    assert fresh.tree() == tree_of(graph)
