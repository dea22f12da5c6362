"""Index files: what is encoded is decoded, in files that restic accepts."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backup_core.errors import Damaged, NotFound
from backup_core.repository import index
from backup_core.repository.index import decode, encode, load_index, save_index
from backup_core.repository.pack import Pack, PackedBlob
from backup_core.repository.repository import Repository

IDS = st.binary(min_size=32, max_size=32)
NUMBERS = st.integers(0, (1 << 32) - 1)
BLOBS = st.builds(PackedBlob, IDS, st.booleans(), NUMBERS, NUMBERS, NUMBERS)
PACKS = st.lists(st.builds(Pack, IDS, st.lists(BLOBS, max_size=5), st.just(0)), max_size=5)


@given(PACKS)
def test_an_index_comes_back(packs: list[Pack]) -> None:
    """Every pack and blob, with all of its numbers, is read as it was written."""
    assert decode(encode(packs)) == packs


def test_the_text_is_as_restic_writes_it() -> None:
    """Field names and values are restic's; a blob that is not compressed has no unpacked length."""
    blobs = [PackedBlob(b"\1" * 32, False, 0, 40, 0), PackedBlob(b"\2" * 32, True, 40, 50, 60)]
    assert json.loads(encode([Pack(b"\xab" * 32, blobs, 200)])) == {
        "packs": [
            {
                "id": "ab" * 32,
                "blobs": [
                    {"id": "01" * 32, "type": "data", "offset": 0, "length": 40},
                    {"id": "02" * 32, "type": "tree", "offset": 40, "length": 50, "uncompressed_length": 60},
                ],
            }
        ]
    }


def test_a_pack_is_never_split_over_files(memory_repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    """Index files have at most so many blobs, but all of a pack's blobs lie in one, however many they are."""
    monkeypatch.setattr(index, "BLOBS_PER_FILE", 10)
    counts = [4, 4, 4, 25, 1, 9, 1]
    packs = [
        Pack(bytes([n]) * 32, [PackedBlob(bytes([n, i]) * 16, False, 40 * i, 40, 0) for i in range(count)], 0)
        for n, count in enumerate(counts)
    ]
    ids = save_index(memory_repository, iter(packs))
    files = [load_index(memory_repository, index_id) for index_id in ids]
    assert [[len(pack.blobs) for pack in file] for file in files] == [[4, 4], [4], [25], [1, 9], [1]]
    assert [pack for file in files for pack in file] == packs
    assert memory_repository.ids("index") == sorted(ids)


def test_no_packs_no_file(memory_repository: Repository) -> None:
    """Nothing to tell leaves no index file."""
    assert save_index(memory_repository, []) == []
    assert memory_repository.ids("index") == []


def test_fields_that_are_not_known_are_passed_over() -> None:
    """Old and future fields (`supersedes`) do not disturb."""
    blob = f'{{"id":"{"01" * 32}","type":"data","offset":0,"length":40,"more":1}}'
    text = f'{{"supersedes":["{"00" * 32}"],"packs":[{{"id":"{"ab" * 32}","blobs":[{blob}],"x":[]}}]}}'
    assert decode(text.encode()) == [Pack(b"\xab" * 32, [PackedBlob(b"\1" * 32, False, 0, 40, 0)], 0)]


GOOD = {"id": "01" * 32, "type": "data", "offset": 0, "length": 40}


@pytest.mark.parametrize(
    "blob",
    [
        {**GOOD, "id": "01" * 31},
        {**GOOD, "id": "zz" * 32},
        {**GOOD, "id": "é" * 64},
        {**GOOD, "type": "file"},
        {**GOOD, "offset": -1},
        {**GOOD, "length": 1 << 32},
        {**GOOD, "length": "40"},
        {"id": "01" * 32},
        None,
    ],
)
def test_a_strange_index_is_damage(memory_repository: Repository, blob: object) -> None:
    """An index that does not say what an index says is damage, with the name of its file."""
    text = json.dumps({"packs": [{"id": "ab" * 32, "blobs": [blob]}]}).encode()
    index_id = memory_repository.save_unpacked("index", text)
    with pytest.raises(Damaged, match=index_id):
        load_index(memory_repository, index_id)


def test_a_missing_index_is_not_damage(memory_repository: Repository) -> None:
    """An index file that a prune has replaced meanwhile is "not found", so that the caller looks again."""
    with pytest.raises(NotFound):
        load_index(memory_repository, "0" * 64)
