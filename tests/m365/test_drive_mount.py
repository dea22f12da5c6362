"""A real folder as a drive."""

import datetime
import os
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    (folder / "docs" / "empty").mkdir(parents=True)
    (folder / "docs" / "a.txt").write_bytes(b"hello")
    (folder / "ünïcode ☃.bin").write_bytes(b"")
    os.utime(folder / "docs" / "a.txt", (1_600_000_000, 1_600_000_000))
    os.utime(folder / "docs", (1_500_000_000, 1_500_000_000))
    return folder


def test_a_folder_is_shown_with_its_times_and_bytes(graph: Any, source: Path) -> None:
    """Files, empty folders and times of a real folder are the drive's."""
    graph.drive.mount_folder(source)
    snapshot = graph.drive.snapshot()
    assert set(snapshot) == {"docs", "docs/a.txt", "docs/empty", "ünïcode ☃.bin"}
    assert snapshot["docs/a.txt"].size == 5
    assert snapshot["docs/a.txt"].modified == datetime.datetime.fromtimestamp(1_600_000_000, datetime.UTC)
    assert snapshot["docs"].modified == datetime.datetime.fromtimestamp(1_500_000_000, datetime.UTC)


def test_links_and_pipes_are_left_out(graph: Any, source: Path) -> None:
    """Only regular files and folders are shown: a link could lead out of the folder, a pipe would hang."""
    (source / "link").symlink_to("/etc/hostname")
    (source / "folder link").symlink_to("/etc")
    (source / "dead link").symlink_to("/nowhere")
    os.mkfifo(source / "pipe")
    graph.drive.mount_folder(source, at="mounted")
    assert [path for path, _ in graph.drive.files()] == ["mounted/docs/a.txt", "mounted/ünïcode ☃.bin"]


def test_names_that_differ_by_case_alone_are_kept_apart(graph: Any, source: Path) -> None:
    """A drive cannot hold both, so the second gets a number; a name that is no UTF-8 is shown in UTF-8."""
    (source / "A.txt").write_bytes(b"1")
    (source / "a.txt").write_bytes(b"2")
    (source / os.fsdecode(b"bad\xff")).write_bytes(b"3")
    graph.drive.mount_folder(source)
    assert graph.drive.item("A.txt").size == graph.drive.item("a.txt (2)").size == 1
    assert graph.drive.item("bad\ufffd").size == 1
    assert graph.delta()[0]


def test_a_followed_folder_tells_its_changes_in_the_next_delta(graph: Any, source: Path) -> None:
    """Edited, new and deleted files of a followed folder come as the changes they are, and nothing else does."""
    graph.drive.mount_folder(source, follow=True)
    _, link = graph.delta()
    assert graph.delta(link)[0] == []
    before = graph.drive.item("docs/a.txt").id
    (source / "docs" / "a.txt").write_bytes(b"hello again")
    (source / "new").mkdir()
    (source / "new" / "b").write_bytes(b"1")
    (source / "docs" / "empty").rmdir()
    entries, link = graph.delta(link)
    named = {entry.get("name"): entry for entry in entries}
    assert named["a.txt"]["id"] == before and named["a.txt"]["size"] == 11
    assert {"new", "b"} <= named.keys() and sum("deleted" in entry for entry in entries) == 1
    (source / "new" / "b").unlink()
    (source / "new").rmdir()
    entries, _ = graph.delta(link)
    assert sum("deleted" in entry for entry in entries) == 1
    assert "new" not in graph.drive.snapshot()


def test_a_folder_that_became_a_file_is_told_as_one(graph: Any, source: Path) -> None:
    """A name that changed its kind is a deletion and a new item."""
    graph.drive.mount_folder(source, follow=True)
    _, link = graph.delta()
    (source / "docs" / "empty").rmdir()
    (source / "docs" / "empty").write_bytes(b"now a file")
    (source / "ünïcode ☃.bin").unlink()
    (source / "ünïcode ☃.bin").mkdir()
    entries, _ = graph.delta(link)
    assert sum("deleted" in entry for entry in entries) == 2
    assert graph.drive.item("docs/empty").size == 10 and graph.drive.item("ünïcode ☃.bin").is_folder


def test_a_file_deleted_behind_the_drives_back_does_not_stop_the_feed(graph: Any, source: Path) -> None:
    """A mounted file that is gone is told without a hash until the next look at the folder."""
    graph.drive.mount_folder(source)
    (source / "docs" / "a.txt").unlink()
    (entry,) = [entry for entry in graph.delta()[0] if entry["name"] == "a.txt"]
    assert "hashes" not in entry["file"]


def test_a_folder_mounted_once_is_left_to_the_drive(graph: Any, source: Path) -> None:
    """Without following, the drive may be changed by other means and the folder does not undo it."""
    graph.drive.mount_folder(source)
    graph.drive.rename("docs", "documents")
    graph.drive.delete("documents/a.txt")
    graph.delta()
    assert [path for path, _ in graph.drive.folders()] == ["documents", "documents/empty"]
    assert (source / "docs" / "a.txt").exists()
