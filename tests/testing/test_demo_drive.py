"""The demo's drive: worth looking at when it is filled, and changed in every way that is promised."""

from pathlib import Path

from backup_core.testing import demo_drive
from backup_core.testing.fake_clock import FakeClock
from backup_core.testing.m365.drive import Drive, Owner


def _empty_drive() -> Drive:
    return Drive("seed", "business", Owner("id", "alex@contoso.com", "Alex"), FakeClock())


def test_the_drive_is_worth_a_demo() -> None:
    """Some hundred files, 10 to 64 MiB, one of MiBs twice, an empty file, an empty folder, a name beyond ASCII."""
    drive = _empty_drive()
    demo_drive.fill(drive)
    files = [item for _, item in drive.files()]
    assert 300 <= len(files) <= 1500
    assert 10 << 20 <= drive.root.size <= 64 << 20
    large = [item.quickxor for item in files if item.size > 2 << 20]
    assert len(large) > len(set(large))
    assert any(item.size == 0 for item in files)
    assert any(item.children == {} for _, item in drive.folders())
    assert not all(item.name.isascii() for item in files)
    assert not any("__pycache__" in path or path.endswith(".pyc") for path, _ in drive.files())


def test_a_change_edits_deletes_adds_and_renames() -> None:
    """Each of the four is done once and told with its path; what is renamed keeps its files under their ids."""
    drive = _empty_drive()
    drive.put_file("Work/big", b"x" * 100_000)
    drive.put_file("Work/deep/small", b"y")
    drive.put_file("Zoo/last", b"z")
    before, kept = drive.snapshot(), drive.item("Work/deep/small").id
    told = demo_drive.change(drive)
    after = drive.snapshot()
    assert [line.split()[0] for line in told] == ["edited", "deleted", "added", "renamed"]
    assert "Work/big" in told[0] and "Zoo/last" in told[1] and "Work (renamed)" in told[3]
    edited = after["Work (renamed)/big"]
    assert edited.size > before["Work/big"].size and edited.digest != before["Work/big"].digest
    assert "Zoo/last" not in after and "Zoo" in after
    assert after["Added by the demo/an empty folder"].kind == "folder"
    assert drive.item("Work (renamed)/deep/small").id == kept


def test_names_that_are_taken_are_left_alone() -> None:
    """A drive that has such names already gets others; nothing of it is overwritten."""
    drive = _empty_drive()
    drive.put_file("added BY the demo", b"mine")
    drive.put_file("Work/a", b"a" * 100)
    drive.put_file("Work/b", b"b")
    drive.put_file("work (RENAMED)", b"also mine")
    drive.put_file("zoo", b"unwanted")
    demo_drive.change(drive)
    after = drive.snapshot()
    assert after["added BY the demo"].size == 4
    assert {"Added by the demo 2/hello.txt", "Work (renamed) 2/a"} <= after.keys()


def test_even_an_empty_drive_can_change(tmp_path: Path) -> None:
    """An empty folder of the user's is no error: something is added."""
    drive = _empty_drive()
    drive.mount_folder(tmp_path)
    assert [line.split()[0] for line in demo_drive.change(drive)] == ["added", "renamed"]
    assert drive.files()
    assert list(tmp_path.iterdir()) == []
