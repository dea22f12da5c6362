"""The names of stored objects: restic's, and ours beside them."""

from backup_core.repository import layout
from backup_core.storage.names import check_name

ID = "ab" + "0" * 62


def test_names_are_those_of_restic() -> None:
    """Every object of the format lies where stock restic looks for it."""
    assert layout.pack_name(ID) == f"data/ab/{ID}"
    assert layout.key_name(ID) == f"keys/{ID}"
    assert layout.lock_name(ID) == f"locks/{ID}"
    assert layout.snapshot_name(ID) == f"snapshots/{ID}"
    assert layout.index_name(ID) == f"index/{ID}"


def test_state_lies_below_one_folder() -> None:
    """Everything that restic does not know is below `state/`, in names that every store accepts."""
    names = [
        layout.head_name(42),
        layout.segment_name("00ff"),
        layout.plan_name("r1", 1),
        layout.batch_name("r1", 2),
        layout.saved_name("r1", 3),
    ]
    assert names == [
        "state/heads/000000000042",
        "state/segments/00ff",
        "state/runs/r1/plan-00001",
        "state/runs/r1/batch-00002",
        "state/runs/r1/saved-00003",
    ]
    assert [check_name(name) for name in names] == names


def test_only_64_lower_case_hex_digits_are_an_id() -> None:
    """What restic would pass over in a folder, we pass over as well."""
    assert layout.is_id(ID)
    for other in (ID[1:], ID + "0", ID.upper(), ID[:-1] + "g", ID + "\n", "", "README"):
        assert not layout.is_id(other)
