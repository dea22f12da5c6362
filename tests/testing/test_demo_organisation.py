"""The demo's organisation: one of each kind, small drives, the same every time."""

from backup_core.testing import demo_organisation
from backup_core.testing.m365 import Simulation


def _built(users: int = 20) -> demo_organisation.Organisation:
    return demo_organisation.build(Simulation(), users)


def test_it_has_one_of_each_kind() -> None:
    """Twenty users: three without a drive in three texts, a guest, one disabled and one unlicensed with drives."""
    entries = [member.user.entry for member in _built().members]
    assert len(entries) == 20
    without = [entry.no_drive_text for entry in entries if entry.drive is None and not entry.guest]
    assert len(set(without)) == len(without) == 3
    assert [entry.guest for entry in entries].count(True) == 1
    assert [entry.drive is not None for entry in entries if not entry.enabled] == [True]
    assert [entry.licensed for entry in entries if entry.drive is not None].count(False) == 1


def test_what_is_right_is_said_of_everybody() -> None:
    """Whoever has a drive is to be protected; the smallest organisation has one ordinary user."""
    for member in _built().members:
        assert (member.state == "protected") == (member.user.entry.drive is not None)
    smallest = _built(demo_organisation.USERS_MIN)
    assert [member.name for member in smallest.members if not member.remark] == ["alex"]


def test_drives_are_small_and_always_alike() -> None:
    """A few MiB together, an empty file and equal files among them; another process builds the same."""
    organisation, again = _built(), _built()
    assert 1 << 20 < sum(member.user.drive.root.size for member in organisation.protected) < 8 << 20
    handbooks = set()
    for member, twin in zip(organisation.protected, again.protected, strict=True):
        digests = {path: entry.digest for path, entry in member.user.drive.snapshot().items()}
        assert digests == {path: entry.digest for path, entry in twin.user.drive.snapshot().items()}
        handbooks.add(digests["Documents/Handbook.pdf"])
    assert len(handbooks) == 1


def test_an_edit_changes_one_file() -> None:
    """The path that is returned has other content, and nothing else has."""
    member = _built().protected[0]
    before = member.user.drive.snapshot()
    path = demo_organisation.edit(member)
    after = member.user.drive.snapshot()
    assert {each for each in after if after[each].digest != before[each].digest} == {path}
    assert after.keys() == before.keys()
