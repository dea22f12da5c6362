"""Restoring where something is there already: nothing of the user's is ever lost without being asked for."""

import os
from pathlib import Path

import pytest
from support.snapshots import MODIFIED, File, Folder, Snapshots, found_in

from backup_core.errors import AlreadyExists, Usage
from backup_core.repository.blobs import BlobReader
from backup_core.restore.part_file import PartFile
from backup_core.restore.plan import RestoreRequest, plan_restore


def lay(path: Path, data: bytes, modified: int = MODIFIED) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    os.utime(path, ns=(modified, modified))


@pytest.mark.parametrize(
    ("conflict", "restored", "skipped", "failed", "content"),
    [
        ("skip", 1, 1, ["other.txt"], {"same.txt": b"SAME", "other.txt": b"mine", "new.txt": b"new"}),
        (
            "rename",
            2,
            1,
            [],
            {"same.txt": b"SAME", "other.txt": b"mine", "new.txt": b"new", "other (restored).txt": b"theirs"},
        ),
        ("overwrite", 3, 0, [], {"same.txt": b"same", "other.txt": b"theirs", "new.txt": b"new"}),
    ],
)
def test_each_policy(
    snapshots: Snapshots, bring_back, tmp_path: Path, conflict, restored, skipped, failed, content
) -> None:
    """Equal size and time counts as there (but for overwrite); what differs is left, set beside, or replaced."""
    snapshot = snapshots.add({"same.txt": b"same", "other.txt": b"theirs", "new.txt": b"new"})
    lay(tmp_path / "out" / "same.txt", b"SAME")
    lay(tmp_path / "out" / "other.txt", b"mine", 5)
    summary = bring_back(snapshot, conflict=conflict)
    assert (summary.files_restored, summary.files_skipped) == (restored, skipped)
    assert [(each.path, each.reason) for each in summary.files_failed] == [(path, "exists") for path in failed]
    assert {path: data for path, (data, _) in found_in(tmp_path / "out").items()} == content
    assert summary.exit_code == (3 if failed else 0)


@pytest.mark.parametrize(("data", "shift"), [(b"same", 1), (b"same", -1_000_000_000), (b"sam", 0), (b"samee", 0)])
def test_skip_keeps_what_differs_in_size_or_time(
    snapshots, bring_back, tmp_path: Path, data: bytes, shift: int
) -> None:
    """A nanosecond or a byte is a difference: the file is left as it is and listed."""
    snapshot = snapshots.add({"a": File(b"same", 1_000_000_000_000_000_000)})
    lay(tmp_path / "out" / "a", data, 1_000_000_000_000_000_000 + shift)
    before = found_in(tmp_path / "out")
    assert [each.reason for each in bring_back(snapshot).files_failed] == ["exists"]
    assert found_in(tmp_path / "out") == before


@pytest.mark.parametrize("grain", [100, 10_000_000, 1_000_000_000])
def test_times_that_a_file_system_has_cut_are_equal(snapshots, bring_back, tmp_path: Path, grain: int) -> None:
    """A second run onto NTFS, exFAT or a file system of whole seconds finds its files there."""
    modified = 1_700_000_000_123_456_789
    lay(tmp_path / "out" / "a", b"same", modified - modified % grain)
    assert bring_back(snapshots.add({"a": File(b"same", modified)})).files_skipped == 1


def test_rename_is_repeatable(snapshots: Snapshots, bring_back, tmp_path: Path) -> None:
    """Names are numbered past other files and past the snapshot's own; a second run makes no further copy."""
    tree = {"a.txt": b"theirs", "a (restored).txt": b"own", "b": b"x", "d": b"y", "l" * 251 + ".txt": b"long"}
    lay(tmp_path / "out" / "a.txt", b"mine", 5)
    lay(tmp_path / "out" / "a (restored 2).txt", b"mine too", 5)
    lay(tmp_path / "out" / "b", b"mine", 5)
    (tmp_path / "out" / "d").mkdir()
    lay(tmp_path / "out" / ("l" * 251 + ".txt"), b"mine", 5)
    first = bring_back(snapshots.add(tree), conflict="rename")
    found = {path: data for path, (data, _) in found_in(tmp_path / "out").items() if not path.startswith("l")}
    assert found == {
        "a.txt": b"mine",
        "a (restored).txt": b"own",
        "a (restored 2).txt": b"mine too",
        "a (restored 3).txt": b"theirs",
        "b": b"mine",
        "b (restored)": b"x",
        "d": None,
        "d (restored)": b"y",
    }
    assert (first.files_restored, first.files_failed) == (5, [])
    names = set(found_in(tmp_path / "out"))
    second = bring_back(snapshots.add(tree), conflict="rename")
    assert (second.files_restored, second.files_skipped) == (0, 5)
    assert set(found_in(tmp_path / "out")) == names


@pytest.mark.parametrize("there", ["sub/deep.txt", "top.txt", "sub"])
def test_fail_writes_nothing_at_all(snapshots: Snapshots, bring_back, tmp_path: Path, there: str) -> None:
    """One file that is there, even an equal one, or a file in a folder's place: an error that names it, no change."""
    snapshot = snapshots.add({"first.txt": b"1", "sub": {"deep.txt": b"deep"}, "top.txt": b"top"})
    lay(tmp_path / "out" / there, b"top" if there == "top.txt" else b"deep")
    before = found_in(tmp_path / "out")
    with pytest.raises(AlreadyExists, match="Nothing was restored") as caught:
        bring_back(snapshot, conflict="fail")
    assert there in caught.value.why and caught.value.exit_code == 1
    assert found_in(tmp_path / "out") == before
    assert bring_back(snapshot, conflict="fail", target=tmp_path / "free").files_restored == 3


@pytest.mark.parametrize("conflict", ["skip", "rename", "overwrite"])
def test_folders_and_files_do_not_replace_each_other(snapshots, bring_back, tmp_path: Path, conflict: str) -> None:
    """A file in a folder's place, and a folder in a file's place, stay; the others are restored."""
    snapshot = snapshots.add({"was folder": {"in": b"1", "sub": {"in": b"2"}}, "was file": b"3", "z": b"4"})
    lay(tmp_path / "out" / "was folder", b"now a file")
    lay(tmp_path / "out" / "was file" / "precious", b"kept")
    summary = bring_back(snapshot, conflict=conflict)
    found = {path: data for path, (data, _) in found_in(tmp_path / "out").items()}
    assert found["was folder"] == b"now a file" and found["was file/precious"] == b"kept" and found["z"] == b"4"
    failed = {each.path for each in summary.files_failed}
    assert failed == ({"was folder"} if conflict == "rename" else {"was folder", "was file"})
    assert {each.reason for each in summary.files_failed} == {"exists"}


@pytest.mark.parametrize("conflict", ["skip", "rename", "overwrite"])
def test_links_in_the_target_are_never_followed(snapshots, bring_back, tmp_path: Path, conflict: str) -> None:
    """A planted link, for a file or for a folder, to a file or a folder outside, leads no write out of the target."""
    outside = tmp_path / "outside"
    lay(outside / "victim.txt", b"victim")
    lay(outside / "folder" / "precious.txt", b"precious")
    before = found_in(outside)
    out = tmp_path / "out"
    (out / "deep").mkdir(parents=True)
    (out / "file.txt").symlink_to(outside / "victim.txt")
    (out / "dangling.txt").symlink_to(outside / "new.txt")
    (out / "folder").symlink_to(outside / "folder")
    (out / "deep" / "folder").symlink_to("../../outside/folder")
    content = Folder({"precious.txt": b"evil", "more": {"x": b"evil"}})
    tree = {
        "file.txt": b"evil",
        "dangling.txt": b"evil",
        "folder": content,
        "deep": {"folder": content, "ok.txt": b"ok"},
    }
    summary = bring_back(snapshots.add(tree), conflict=conflict, verify=True)
    assert found_in(outside) == before
    assert (out / "deep" / "ok.txt").read_bytes() == b"ok"
    failed = {(each.path, each.reason) for each in summary.files_failed}
    assert {("folder", "exists"), ("deep/folder", "exists")} <= failed
    if conflict == "overwrite":
        assert (out / "file.txt").read_bytes() == b"evil" and not (out / "file.txt").is_symlink()
    else:
        assert (out / "file.txt").is_symlink()


def test_a_link_never_counts_as_the_file(snapshots: Snapshots, bring_back, tmp_path: Path) -> None:
    """Neither where it leads to a file of the right size and time, nor where it has these itself."""
    lay(tmp_path / "real", b"same")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a").symlink_to(tmp_path / "real")
    (tmp_path / "out" / "b").symlink_to("four")
    os.utime(tmp_path / "out" / "b", ns=(MODIFIED, MODIFIED), follow_symlinks=False)
    summary = bring_back(snapshots.add({"a": b"same", "b": b"same"}))
    assert [(each.path, each.reason) for each in summary.files_failed] == [("a", "exists"), ("b", "exists")]


def test_a_link_that_appears_while_it_runs_is_not_followed(snapshots, bring_back, tmp_path: Path, monkeypatch) -> None:
    """A folder that is swapped for a link after it was planned: its files fail, nothing lands outside."""
    outside = tmp_path / "outside"
    outside.mkdir()
    read_range = BlobReader.read_range

    def swap_then_read(reader, span):
        if (tmp_path / "out" / "a").is_dir() and not span.tree:
            (tmp_path / "out" / "a").rename(tmp_path / "gone")
            (tmp_path / "out" / "a").symlink_to(outside)
        return read_range(reader, span)

    monkeypatch.setattr(BlobReader, "read_range", swap_then_read)
    summary = bring_back(snapshots.add({"a": {"f": b"1"}, "z": b"2"}), threads=1)
    assert list(outside.iterdir()) == []
    assert [(each.path, each.reason) for each in summary.files_failed] == [("a/f", "write-failed")]
    assert summary.files_restored == 1


def test_a_file_that_appears_meanwhile_is_not_overwritten(snapshots, bring_back, tmp_path: Path, monkeypatch) -> None:
    """The last step takes a free name or none, whatever was there when the plan was made."""
    finish = PartFile.finish

    def appear_then_finish(part, verify=None):
        lay(tmp_path / "out" / "a.txt", b"the user's", 5)
        finish(part, verify)

    monkeypatch.setattr(PartFile, "finish", appear_then_finish)
    summary = bring_back(snapshots.add({"a.txt": b"theirs"}))
    assert [(each.path, each.reason) for each in summary.files_failed] == [("a.txt", "exists")]
    assert {path: data for path, (data, _) in found_in(tmp_path / "out").items()} == {"a.txt": b"the user's"}


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_target_that_is_a_file_is_refused(snapshots: Snapshots, bring_back, tmp_path: Path, dry_run: bool) -> None:
    """Usage, which says what to name instead."""
    snapshot = snapshots.add({"a": b"1"})
    lay(tmp_path / "file", b"x")
    with pytest.raises(Usage, match="is no folder"):
        if dry_run:
            request = RestoreRequest(tmp_path / "file")
            plan_restore(snapshots.repository, snapshots.index(), snapshot, request).summary()
        else:
            bring_back(snapshot, target=tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == b"x"


def test_a_target_that_is_a_link_leads_where_it_leads(snapshots: Snapshots, bring_back, tmp_path: Path) -> None:
    """The target itself is the user's choice, link or not."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert bring_back(snapshots.add({"a": b"1"}), target=tmp_path / "link").exit_code == 0
    assert (tmp_path / "real" / "a").read_bytes() == b"1"
