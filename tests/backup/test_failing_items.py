"""An item that cannot be had is reported, keeps its previous version, is tried again, and stops nothing."""

import pytest
from support.world import World

from backup_core.testing.m365 import faults
from backup_core.testing.m365.faults import Status


def reasons(items: list) -> dict[str, str]:
    return {item.path: item.reason for item in items}


def test_malware_keeps_the_previous_version_and_heals(fresh: World) -> None:
    """An infected file is named with its reason, its last clean version stays, and a cleaned one is saved again."""
    fresh.drive.put_file("/good.txt", b"good")
    fresh.drive.put_file("/bad.txt", b"clean version")
    first = fresh.back_up()
    clean = fresh.contents(first.snapshot_id)["bad.txt"]
    fresh.drive.put_file("/bad.txt", b"infected version")
    fresh.drive.set_malware("/bad.txt")
    fresh.drive.put_file("/good.txt", b"better")
    fresh.m365.log.clear()
    second = fresh.back_up()
    assert reasons(second.items_failed) == {"bad.txt": "malware"}
    assert (second.complete, second.exit_code) == (False, 3)
    assert len(fresh.downloads()) == 1, "the infected file is not asked for"
    assert fresh.contents(second.snapshot_id)["bad.txt"] == clean
    third = fresh.back_up()
    assert reasons(third.items_failed) == {"bad.txt": "malware"}, "it stays on the list until it is had"
    fresh.drive.set_malware("/bad.txt", None)
    healed = fresh.back_up()
    assert healed.complete
    fresh.assert_same(healed)


def test_locked_file_under_a_new_name_keeps_its_old_content(fresh: World) -> None:
    """A file that is locked and renamed at once appears under its new name with the content that is known."""
    fresh.drive.put_file("/dir/report.txt", b"version 1")
    first = fresh.back_up()
    known = fresh.contents(first.snapshot_id)["dir/report.txt"]
    fresh.drive.put_file("/dir/report.txt", b"version 2")
    fresh.drive.rename("/dir/report.txt", "renamed.txt")
    fresh.drive.set_locked("/dir/renamed.txt")
    second = fresh.back_up()
    assert reasons(second.items_failed) == {"dir/renamed.txt": "locked"}
    assert fresh.contents(second.snapshot_id)["dir/renamed.txt"] == known
    fresh.drive.set_locked("/dir/renamed.txt", False)
    third = fresh.back_up()
    assert third.complete and third.files_changed == 1
    fresh.assert_same(third)


def test_wrong_report_is_kept_marked_and_settled(fresh: World) -> None:
    """Bytes that differ from their report are kept as `mismatch`, tried once more, and then count as complete."""
    fresh.drive.put_file("/odd.docx", b"the bytes that come")
    fresh.drive.set_reported("/odd.docx", size=18, quickxor="AAAAAAAAAAAAAAAAAAAAAAAAAAB=")
    first = fresh.back_up()
    assert reasons(first.items_failed) == {"odd.docx": "size-mismatch"}
    assert first.files_total == 1 and first.exit_code == 3
    second = fresh.back_up()
    assert second.complete and second.exit_code == 0
    assert second.files_unmodified == 1
    fresh.m365.log.clear()
    third = fresh.back_up()
    assert third.complete and not fresh.downloads(), "settled: it is not fetched for ever"


def test_gone_before_its_turn(fresh: World) -> None:
    """A file that answers 404 when its turn comes is skipped, not failed, and the run is complete."""
    fresh.drive.put_file("/stays.txt", b"stays")
    item = fresh.drive.put_file("/goes.txt", b"goes")
    fault = Status(404, {"error": {"code": "itemNotFound", "message": "gone"}})
    fresh.m365.faults.add(match=rf"GET graph .*/items/{item.id}\?", fault=fault)
    summary = fresh.back_up()
    assert reasons(summary.items_skipped) == {"goes.txt": "gone"}
    assert summary.complete and summary.files_new == 1


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (faults.Status(500), "download-failed"),
        (faults.Truncate(after=0), "download-failed"),
        (faults.Reset(after=0), "download-failed"),
        (faults.Status(403, {"error": {"code": "malwareDetected", "message": "x"}}), "malware"),
        (faults.Status(423, {"error": {"code": "resourceLocked", "message": "x"}}), "locked"),
    ],
)
def test_a_download_that_never_works(fresh: World, fault: faults.Fault, reason: str) -> None:
    """Whatever the content host does, the run ends, says which file and why, and the next run has it."""
    fresh.drive.put_file("/other.txt", b"other")
    fresh.drive.put_file("/poor.bin", b"x" * 100)
    fresh.m365.faults.add(match=r"GET content", nth=1, times=None, fault=fault)
    summary = fresh.back_up()
    assert set(reasons(summary.items_failed).values()) == {reason}
    assert summary.files_total == 0
    fresh.m365.faults.clear()
    healed = fresh.back_up()
    assert healed.complete
    fresh.assert_same(healed)


@pytest.mark.parametrize(
    "fault",
    [
        faults.Reset(after=600_000),
        faults.Truncate(after=1_000_000),
        faults.Status(429, {"error": {"code": "activityLimitReached"}}, {"Retry-After": "7"}),
        faults.Status(503, b"", {"Retry-After": "2.5"}),
        faults.Status(401, b""),
        faults.WithoutLength(after=5_000),
        faults.Close(),
    ],
    ids=["reset", "truncated", "throttled", "busy", "expired-link", "cut-without-length", "closed"],
)
def test_one_mishap_in_a_body(fresh: World, fault: faults.Fault) -> None:
    """A mishap in the middle of a download costs time and no more: the run ends complete."""
    fresh.drive.put_file("/large.bin", bytes(range(256)) * 8_000)
    fresh.m365.faults.add(match=r"GET content", nth=1, fault=fault)
    summary = fresh.back_up()
    assert summary.complete
    fresh.assert_same(summary)


def test_throttled_feed_waits_and_goes_on(fresh: World) -> None:
    """429 on the feed is waited for exactly, counted in throttled_seconds, and eats no retry."""
    fresh.drive.put_file("/a", b"a")
    busy = Status(429, {"error": {"code": "activityLimitReached"}}, {"Retry-After": "31"})
    fresh.m365.faults.add(match=r"GET graph .*/delta", nth=1, times=5, fault=busy)
    summary = fresh.back_up()
    assert summary.complete
    assert 154.9 <= summary.throttled_seconds < 200


def test_shortcuts_and_notebooks(fresh: World) -> None:
    """A link into another drive and a notebook are reported as left out; the notebook's sections are saved."""
    fresh.drive.put_file("/Notes/section.one", b"one")
    fresh.drive.make_package("/Notes")
    fresh.drive.add_remote_item("/Shared with me")
    summary = fresh.back_up()
    assert reasons(summary.items_skipped) == {"Notes": "package", "Shared with me": "remote-item"}
    assert summary.complete
    assert "Notes/section.one" in fresh.contents(summary.snapshot_id)
