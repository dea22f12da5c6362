"""Index files: which pack holds which blob, and where. `blobs.py` looks things up in them."""

import binascii
from collections.abc import Iterable, Iterator
from typing import Annotated, Literal

import msgspec

from backup_core.errors import Damaged
from backup_core.repository import layout
from backup_core.repository.pack import Pack, PackedBlob
from backup_core.repository.repository import Repository

# As restic has it: some 7 MB of JSON. A reader decodes one file at a time, so this bounds its memory.
BLOBS_PER_FILE = 50_000

_Size = Annotated[int, msgspec.Meta(ge=0, lt=1 << 32)]  # a pack header has 32 bits for each of them


class _Blob(msgspec.Struct, gc=False):
    id: str
    type: Literal["data", "tree"]
    offset: _Size
    length: _Size
    uncompressed_length: _Size = 0


class _Pack(msgspec.Struct, gc=False):
    id: str
    blobs: list[_Blob]


class _Index(msgspec.Struct):
    packs: list[_Pack]


_decoder = msgspec.json.Decoder(_Index)


def encode(packs: Iterable[Pack]) -> bytes:
    """The JSON of one index file, in restic's order of fields."""
    texts = (f'{{"id":"{pack.id.hex()}","blobs":[{",".join(map(_blob_text, pack.blobs))}]}}' for pack in packs)
    return ('{"packs":[' + ",".join(texts) + "]}\n").encode()


def decode(data: bytes) -> list[Pack]:
    """What `encode` or restic wrote; the packs' sizes are 0, an index does not tell them. Damaged."""
    try:
        return [
            Pack(
                _id(pack.id),
                [
                    PackedBlob(_id(b.id), b.type == "tree", b.offset, b.length, b.uncompressed_length)
                    for b in pack.blobs
                ],
                0,
            )
            for pack in _decoder.decode(data).packs
        ]
    except (msgspec.MsgspecError, ValueError) as error:
        raise Damaged("An index file is not what restic or drivekeep write.", why=str(error)) from None


def save_index(repository: Repository, packs: Iterable[Pack]) -> list[str]:
    """Store index files for packs that are stored already; their ids. At most BLOBS_PER_FILE blobs a file.

    All blobs of a pack go into one file, else `restic check` fails.
    """
    return [repository.save_unpacked("index", encode(group)) for group in _groups(packs)]


def load_index(repository: Repository, index_id: str) -> list[Pack]:
    """The packs of one index file. NotFound; Damaged, with the file's name."""
    data = repository.load_unpacked("index", index_id)
    try:
        return decode(data)
    except Damaged as error:
        raise Damaged(
            f"{layout.index_name(index_id)} is damaged.",
            why=error.why,
            remedy="`restic rebuild-index` makes the index anew from the packs.",
        ) from None


def _groups(packs: Iterable[Pack]) -> Iterator[list[Pack]]:
    group: list[Pack] = []
    count = 0
    for pack in packs:
        if group and count + len(pack.blobs) > BLOBS_PER_FILE:
            yield group
            group, count = [], 0
        group.append(pack)
        count += len(pack.blobs)
    if group:
        yield group


def _blob_text(blob: PackedBlob) -> str:
    kind = "tree" if blob.tree else "data"
    raw = f',"uncompressed_length":{blob.raw_length}' if blob.raw_length else ""
    return f'{{"id":"{blob.id.hex()}","type":"{kind}","offset":{blob.offset},"length":{blob.length}{raw}}}'


def _packed(blob: _Blob) -> PackedBlob:
    return PackedBlob(_id(blob.id), blob.type == "tree", blob.offset, blob.length, blob.uncompressed_length)


def _id(text: str) -> bytes:
    blob_id = binascii.unhexlify(text)
    if len(blob_id) != 32:
        raise ValueError(f"{text!r} is no id")
    return blob_id
