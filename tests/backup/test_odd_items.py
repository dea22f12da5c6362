"""Single items that behave badly: none of them may be lost in silence, stop the others, or be reported for ever."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from support.world import World

from backup_core.backup.job import Summary
from backup_core.drive_state.head import choose_head
from backup_core.testing.m365.faults import Alter, Status
from backup_core.testing.m365.wire import Response

FEED = r"GET graph .*/delta"


def failed(summary: Summary) -> dict[str, str]:
    return {item.path: item.reason for item in summary.items_failed}


def skipped(summary: Summary) -> dict[str, str]:
    return {item.path: item.reason for item in summary.items_skipped}


def edited(edit: Callable[[list[dict[str, Any]]], None]) -> Alter:
    """A page of a feed or listing whose items are changed on their way."""

    def change(response: Response) -> Response:
        page = json.loads(response.body)
        edit(page["value"])
        text = json.dumps(page)
        return Response(response.status, dict(response.headers), text.encode())

    return Alter(change)


def with_item(**facts: Any) -> Alter:
    return edited(lambda items: items.append(facts))


# -- the retry list ----------------------------------------------------------------------------------------------


def test_failed_file_that_is_deleted_while_the_position_is_lost(fresh: World) -> None:
    """A file that could not be had, and is not listed any more, is not reported as failed once more."""
    fresh.drive.put_file("/bad.txt", b"infected")
    fresh.drive.set_malware("/bad.txt")
    fresh.drive.put_file("/good.txt", b"good")
    assert failed(fresh.back_up()) == {"bad.txt": "malware"}
    fresh.drive.delete("/bad.txt")
    fresh.m365.switches.expire_positions()
    summary = fresh.back_up()
    assert summary.mode == "resync"
    assert summary.complete
    fresh.assert_same(summary)


@pytest.mark.parametrize("source", ["onedrive-changes", "onedrive"])
def test_failed_file_that_is_deleted(fresh: World, source: Any) -> None:
    """A file that could not be had and is deleted is deleted: nothing failed, and nothing was left out."""
    fresh.drive.put_file("/bad.txt", b"clean")
    fresh.back_up()
    fresh.drive.set_malware("/bad.txt")
    assert not fresh.back_up().complete
    fresh.drive.delete("/bad.txt")
    summary = fresh.back_up(source=source)
    assert (summary.complete, summary.items_skipped, summary.files_deleted) == (True, [], 1)
    fresh.assert_same(summary)


def test_failed_file_that_is_gone_without_a_tombstone(fresh: World) -> None:
    """What answers 404 and has no tombstone is named with its path, keeps its version, and is asked for no more."""
    fresh.drive.put_file("/folder/bad.txt", b"clean")
    fresh.back_up()
    fresh.drive.set_malware("/folder/bad.txt")
    item = fresh.drive.item("/folder/bad.txt")
    fresh.back_up()
    gone = Status(404, {"error": {"code": "itemNotFound", "message": "x"}})
    fresh.m365.faults.add(match=rf"GET graph .*/items/{item.id}\?", fault=gone)
    summary = fresh.back_up()
    assert skipped(summary) == {"folder/bad.txt": "gone"}
    assert summary.complete and summary.files_total == 1
    fresh.m365.log.clear()
    assert fresh.back_up().complete
    assert not [each for each in fresh.m365.log if item.id in each.path]


@pytest.mark.parametrize("status", [500, 423, 403, 400])
def test_failed_file_that_cannot_even_be_asked_for(fresh: World, status: int) -> None:
    """An item on the retry list whose facts cannot be had waits on, under its path, and stops nobody else."""
    fresh.drive.put_file("/folder/bad.txt", b"clean")
    fresh.back_up()
    fresh.drive.put_file("/folder/bad.txt", b"second")
    fresh.drive.set_locked("/folder/bad.txt")
    item = fresh.drive.item("/folder/bad.txt")
    assert failed(fresh.back_up()) == {"folder/bad.txt": "locked"}
    fault = Status(status, {"error": {"code": "x", "message": "x"}})
    fresh.m365.faults.add(match=rf"GET graph .*/items/{item.id}\?", times=None, fault=fault)
    fresh.drive.put_file("/other.txt", b"other")
    summary = fresh.back_up()
    assert failed(summary) == {"folder/bad.txt": "locked"}
    assert summary.files_new == 1
    fresh.m365.faults.clear()
    fresh.drive.set_locked("/folder/bad.txt", False)
    healed = fresh.back_up()
    assert healed.complete
    fresh.assert_same(healed)


def test_retry_list_while_graph_is_away(fresh: World) -> None:
    """A network that is away is no item's trouble: the run ends as temporary, and nothing is forgotten."""
    from backup_core.errors import Temporary
    from backup_core.testing.m365.faults import Close

    fresh.drive.put_file("/bad.txt", b"content")
    fresh.drive.set_locked("/bad.txt")
    item = fresh.drive.item("/bad.txt")
    fresh.back_up()
    fresh.m365.faults.add(match=rf"GET graph .*/items/{item.id}\?", times=None, fault=Close())
    with pytest.raises(Temporary):
        fresh.back_up()
    fresh.m365.faults.clear()
    fresh.drive.set_locked("/bad.txt", False)
    fresh.assert_same(fresh.back_up())


def test_failed_file_is_moved_renamed_and_healed(fresh: World) -> None:
    """Whatever happens to a file that cannot be had, it is reported where it is, and its last version goes along."""
    fresh.drive.put_file("/a/report.txt", b"version 1")
    first = fresh.back_up()
    known = fresh.contents(str(first.snapshot_id))["a/report.txt"]
    fresh.drive.put_file("/a/report.txt", b"version 2")
    fresh.drive.set_locked("/a/report.txt")
    fresh.back_up()
    fresh.drive.move("/a/report.txt", "/new/deep")
    fresh.drive.delete("/a")
    second = fresh.back_up()
    assert failed(second) == {"new/deep/report.txt": "locked"}
    assert fresh.contents(str(second.snapshot_id))["new/deep/report.txt"] == known
    fresh.drive.rename("/new", "newer")
    assert failed(fresh.back_up()) == {"newer/deep/report.txt": "locked"}
    fresh.drive.set_locked("/newer/deep/report.txt", False)
    fresh.assert_same(fresh.back_up())


def test_failing_for_thirty_runs(fresh: World) -> None:
    """A file that fails for a month is reported each time, and costs no more than the same three questions."""
    fresh.drive.put_file("/bad.txt", b"content")
    fresh.drive.set_locked("/bad.txt")
    for _ in range(30):
        fresh.m365.log.clear()
        summary = fresh.back_up()
        assert failed(summary) == {"bad.txt": "locked"}
        assert (summary.files_total, summary.files_new, summary.files_deleted) == (0, 0, 0)
    assert len([each for each in fresh.m365.log if "/items/" in each.path]) == 3
    head = choose_head(fresh.open_repository()).head
    assert head is not None and [each.tries for each in head.retry.values()] == [30]
    fresh.drive.set_locked("/bad.txt", False)
    fresh.assert_same(fresh.back_up())


def test_retried_file_in_a_folder_that_is_not_known_yet(fresh: World) -> None:
    """A retried file that has moved on since the feed was read stays where it was, and is right one run later."""
    fresh.drive.put_file("/a/bad.txt", b"version 1")
    fresh.back_up()
    fresh.drive.put_file("/a/bad.txt", b"version 2")
    fresh.drive.set_locked("/a/bad.txt")
    fresh.back_up()

    def move(response: Response) -> Response:
        fresh.drive.move("/a/bad.txt", "/made/since")
        return response

    fresh.m365.faults.add(match=FEED, fault=Alter(move))
    summary = fresh.back_up()
    assert summary.mode == "delta" and not summary.complete
    assert "a/bad.txt" in fresh.contents(str(summary.snapshot_id))
    fresh.drive.set_locked("/made/since/bad.txt", False)
    healed = fresh.back_up()
    assert healed.complete
    fresh.assert_same(healed)


def test_mismatch_that_is_locked_when_it_is_tried_again(fresh: World) -> None:
    """A wrong report is settled by a second delivery, also where something came in between."""
    fresh.drive.put_file("/odd.bin", b"what comes")
    fresh.drive.set_reported("/odd.bin", size=10, quickxor="AAAAAAAAAAAAAAAAAAAAAAAAAAB=")
    assert failed(fresh.back_up()) == {"odd.bin": "hash-mismatch"}
    fresh.drive.set_locked("/odd.bin")
    assert failed(fresh.back_up()) == {"odd.bin": "locked"}
    fresh.drive.set_locked("/odd.bin", False)
    fresh.m365.log.clear()
    assert fresh.back_up().complete
    assert fresh.downloads()


def test_retry_list_while_graph_throttles(fresh: World) -> None:
    """Throttling is no item's trouble: it is waited for once, not once for every item that waits, and ends the run."""
    from backup_core.errors import Temporary

    for number in range(5):
        fresh.drive.put_file(f"/{number}.txt", b"content")
        fresh.drive.set_locked(f"/{number}.txt")
    fresh.back_up()
    busy = Status(429, {"error": {"code": "activityLimitReached"}}, {"Retry-After": "600"})
    fresh.m365.faults.add(match=r"GET graph .*/items/[^/]*\?", times=None, fault=busy)
    before = fresh.clock.monotonic()
    with pytest.raises(Temporary) as temporary:
        fresh.back_up()
    assert temporary.value.reason == "throttled"
    assert fresh.clock.monotonic() - before < 1_000
    fresh.m365.faults.clear()


def test_wrong_report_and_other_bytes_each_time(fresh: World) -> None:
    """Bytes that differ from their report, and from those that came before, settle nothing until they come again."""
    from backup_core.testing.m365.bodies import BytesBody

    item = fresh.drive.put_file("/odd.bin", b"what comes first")
    fresh.drive.set_reported("/odd.bin", size=16, quickxor="AAAAAAAAAAAAAAAAAAAAAAAAAAB=")
    assert failed(fresh.back_up()) == {"odd.bin": "hash-mismatch"}
    item.body = BytesBody(b"what comes later")
    assert failed(fresh.back_up()) == {"odd.bin": "hash-mismatch"}
    settled = fresh.back_up()
    assert settled.complete
    fresh.assert_same(settled)


def test_hash_that_comes_later(fresh: World) -> None:
    """A file that had no hash and has one now is fetched once more, and is verified from then on."""
    fresh.drive.put_file("/a.bin", b"content")
    fresh.m365.switches.hash_missing = True
    fresh.back_up()
    fresh.m365.switches.hash_missing = False
    for fetched in (1, 0):
        fresh.m365.log.clear()
        fresh.assert_same(fresh.back_up(source="onedrive"))
        assert len(fresh.downloads()) == fetched


def test_same_hash_with_another_size(fresh: World) -> None:
    """Hash and size must both agree before content counts as unchanged."""
    item = fresh.drive.put_file("/a.bin", b"content")
    fresh.back_up()
    fresh.drive.set_reported("/a.bin", size=8, quickxor=item.quickxor)
    assert failed(fresh.back_up()) == {"a.bin": "size-mismatch"}


# -- hostile items -----------------------------------------------------------------------------------------------


def test_item_without_an_id(fresh: World) -> None:
    """An item that cannot be asked for again is reported once, and does not make every later run incomplete."""
    fresh.drive.put_file("/a.txt", b"a")
    fresh.m365.faults.add(match=FEED, fault=with_item(name="nameless", size=3, file={}))
    summary = fresh.back_up()
    assert failed(summary) == {"nameless": "invalid-item"}
    assert fresh.back_up().complete


@pytest.mark.parametrize("item_id", ["..", " ", "half \ud800 pair", "x" * 5_000, "a\nb"])
@pytest.mark.parametrize("facet", ["file", "folder"])
def test_item_with_an_impossible_id(fresh: World, item_id: str, facet: str) -> None:
    """An id that can be no id fails that item alone, in this run and in the next one."""
    fresh.drive.put_file("/a.txt", b"a")
    facts: dict[str, Any] = {facet: {}, "parentReference": {"id": fresh.drive.root.id}}
    fresh.m365.faults.add(match=FEED, fault=with_item(id=item_id, name="odd", size=3, **facts))
    summary = fresh.back_up()
    assert summary.files_new == 1
    assert failed(summary) == {"odd": "invalid-item"}
    fresh.drive.put_file("/b.txt", b"b")
    assert fresh.back_up().files_new == 1


def test_item_without_a_name(fresh: World) -> None:
    """A live item that comes without a name keeps the place and the name that it has, and is asked for again."""
    fresh.drive.put_file("/dir/a.txt", b"a")
    fresh.back_up()
    item = fresh.drive.put_file("/dir/a.txt", b"second")

    def drop_name(items: list[dict[str, Any]]) -> None:
        for each in items:
            if each["id"] == item.id:
                del each["name"]

    fresh.m365.faults.add(match=FEED, fault=edited(drop_name))
    summary = fresh.back_up()
    assert failed(summary) == {"dir/a.txt": "invalid-item"}
    assert summary.files_total == 1
    fresh.assert_same(fresh.back_up())


@pytest.mark.parametrize("source", ["onedrive-changes", "onedrive"])
def test_folder_that_was_no_folder_at_first(fresh: World, source: Any) -> None:
    """A folder that first made no sense is listed whole when it does: it does not stay empty for ever."""
    fresh.drive.put_file("/dir/sub/a.txt", b"a")
    fresh.drive.put_file("/b.txt", b"b")
    item = fresh.drive.item("/dir")

    def drop_facet(items: list[dict[str, Any]]) -> None:
        for each in items:
            if each["id"] == item.id:
                del each["folder"]

    match = FEED if source == "onedrive-changes" else r"GET graph .*/children"
    fresh.m365.faults.add(match=match, fault=edited(drop_facet))
    summary = fresh.back_up(source=source)
    assert not summary.complete and summary.files_total == 1
    healed = fresh.back_up()
    fresh.assert_same(healed)
    assert healed.complete
