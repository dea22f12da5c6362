"""Feeds and answers that are wrong in rarer ways."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from support.world import World

from backup_core.testing.m365.faults import Alter, Close, Status
from backup_core.testing.m365.wire import Response

FEED = r"GET graph .*/delta"


def page(edit: Callable[[dict[str, Any]], None]) -> Alter:
    def change(response: Response) -> Response:
        body = json.loads(response.body)
        edit(body)
        return Response(response.status, dict(response.headers), json.dumps(body).encode())

    return Alter(change)


def live(fresh: World, path: str) -> dict[str, Any]:
    item = fresh.drive.item(path)
    facts: dict[str, Any] = {"id": item.id, "name": item.name, "parentReference": {"id": item.parent.id}}
    return facts | ({"folder": {}} if item.is_folder else {"file": {}, "size": item.size})


def test_folders_that_lie_in_each_other(fresh: World) -> None:
    """A feed that puts two folders into each other is answered by an enumeration, and loses neither."""
    fresh.drive.put_file("/a/one.txt", b"one")
    fresh.drive.put_file("/b/two.txt", b"two")
    fresh.back_up()

    def cycle(body: dict[str, Any]) -> None:
        a, b = live(fresh, "/a"), live(fresh, "/b")
        a["parentReference"], b["parentReference"] = {"id": b["id"]}, {"id": a["id"]}
        body["value"] += [a, b]

    fresh.m365.faults.add(match=FEED, fault=page(cycle))
    summary = fresh.back_up()
    assert summary.mode == "resync"
    fresh.assert_same(summary)


def test_enumeration_with_folders_that_lie_in_each_other(fresh: World) -> None:
    """Where even an enumeration says so, they stay where they were, are reported, and are right again one run later."""
    fresh.drive.put_file("/a/one.txt", b"one")
    fresh.drive.put_file("/b/two.txt", b"two")
    fresh.drive.put_file("/c.txt", b"three")
    first = fresh.back_up()
    fresh.m365.switches.expire_positions()

    def cycle(body: dict[str, Any]) -> None:
        a, b = live(fresh, "/a"), live(fresh, "/b")
        a["parentReference"], b["parentReference"] = {"id": b["id"]}, {"id": a["id"]}
        body["value"] += [a, b]

    fresh.m365.faults.add(match=FEED, nth=2, fault=page(cycle))
    summary = fresh.back_up()
    assert {item.path for item in summary.items_failed} == {"a", "a/one.txt", "b", "b/two.txt"}
    assert {item.reason for item in summary.items_failed} == {"invalid-item"}
    assert fresh.contents(str(summary.snapshot_id)) == fresh.contents(str(first.snapshot_id))
    assert (summary.files_total, summary.files_deleted, summary.suspicious) == (3, 0, False)
    healed = fresh.back_up()
    assert healed.complete
    fresh.assert_same(healed)


def test_retried_file_comes_last(fresh: World) -> None:
    """A retried file, asked for after the feed was read, is what that answer says and not what the feed said before."""
    fresh.drive.put_file("/a.txt", b"one")
    fresh.drive.set_malware("/a.txt")
    fresh.back_up()

    def heal(response: Response) -> Response:
        fresh.drive.set_malware("/a.txt", None)
        fresh.drive.put_file("/a.txt", b"two")
        return response

    fresh.m365.faults.add(match=FEED, fault=Alter(heal))
    fresh.assert_same(fresh.back_up())


@pytest.mark.parametrize("fault", [Close(), Status(503), Status(500)])
def test_network_that_fails_in_the_middle_of_the_feed(fresh: World, fault: Any) -> None:
    """A feed that breaks off ends the run as temporary; the next run has everything."""
    from backup_core.errors import Temporary

    fresh.m365.switches.page_size = 2
    for number in range(6):
        fresh.drive.put_file(f"/{number}.txt", b"%d" % number)
    fresh.m365.faults.add(match=r"GET graph .*/delta\?.*token", nth=2, times=4, fault=fault)
    with pytest.raises(Temporary) as temporary:
        fresh.back_up()
    assert temporary.value.exit_code == 5
    fresh.m365.faults.clear()
    fresh.assert_same(fresh.back_up())


def test_lost_events_heal_with_the_next_enumeration(fresh: World) -> None:
    """Deletions and edits that the feed never told are right after a full scan, and the totals with them."""
    for number in range(8):
        fresh.drive.put_file(f"/d{number % 2}/{number}.txt", b"%d" % number)
    fresh.back_up()
    fresh.m365.switches.drop_tombstones = fresh.m365.switches.drop_changes = 1.0
    fresh.drive.delete("/d0/0.txt")
    fresh.drive.put_file("/d1/1.txt", b"edited")
    fresh.drive.move("/d1/3.txt", "/d0")
    assert fresh.back_up().files_total == 8
    fresh.m365.switches.drop_tombstones = fresh.m365.switches.drop_changes = 0.0
    summary = fresh.back_up(source="onedrive")
    assert (summary.files_deleted, summary.files_changed, summary.files_new) == (1, 1, 0)
    fresh.assert_same(summary)
    fresh.assert_same(fresh.back_up())


def test_folder_that_a_scan_cannot_tell_from_nothing(fresh: World) -> None:
    """A folder that makes no sense for once keeps its content, which does not count as deleted, and is listed later."""
    for number in range(60):
        fresh.drive.put_file(f"/d/sub/{number}.txt", b"%d" % number)
    fresh.drive.put_file("/other.txt", b"other")
    first = fresh.back_up()
    item = fresh.drive.item("/d")

    def drop_facet(body: dict[str, Any]) -> None:
        for each in body["value"]:
            if each["id"] == item.id:
                del each["folder"]

    fresh.m365.faults.add(match=r"GET graph .*/children", fault=page(drop_facet))
    summary = fresh.back_up(source="onedrive")
    assert [(each.path, each.reason) for each in summary.items_failed] == [("d", "invalid-item")]
    assert fresh.contents(str(summary.snapshot_id)) == fresh.contents(str(first.snapshot_id))
    assert (summary.files_total, summary.files_deleted, summary.suspicious) == (61, 0, False)
    fresh.drive.put_file("/d/sub/new.txt", b"new")
    healed = fresh.back_up()
    assert healed.complete
    fresh.assert_same(healed)


def test_live_file_in_a_deleted_folder(fresh: World) -> None:
    """A feed that deletes a folder and changes a file in it contradicts itself: the drive is listed."""
    fresh.drive.put_file("/d/a.txt", b"one")
    fresh.drive.put_file("/d/b.txt", b"two")
    fresh.back_up()
    fresh.drive.put_file("/d/a.txt", b"three")
    item = fresh.drive.item("/d")
    tombstone = {"id": item.id, "deleted": {"state": "deleted"}}
    fresh.m365.faults.add(match=FEED, fault=page(lambda body: body["value"].append(tombstone)))
    summary = fresh.back_up()
    assert summary.mode == "resync"
    fresh.assert_same(summary)


def test_mass_change_counts_other_content_and_deletions_together(fresh: World) -> None:
    """Half the files encrypted and the other half deleted is what the rule is for; each alone may be below it."""
    for number in range(60):
        fresh.drive.put_file(f"/{number}.txt", b"%d" % number)
    fresh.back_up()
    for number in range(30):
        fresh.drive.put_file(f"/{number}.txt", b"encrypted %d" % number)
    fresh.drive.delete("/59.txt")
    summary = fresh.back_up()
    assert (summary.files_changed, summary.files_deleted, summary.suspicious) == (30, 1, True)
