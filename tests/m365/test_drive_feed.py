"""The delta feed: what it tells, in which order, and that a reader who follows it misses nothing."""

import json
import urllib.parse
from typing import Any

import pytest


def names_in(entries: list[dict[str, Any]]) -> list[str]:
    return [entry.get("name", "(deleted)" if "deleted" in entry else "?") for entry in entries]


def test_the_first_reading_tells_everything_parents_first(graph: Any) -> None:
    """Root, folders and files, each once, each after its parent, and a link to go on from."""
    graph.drive.put_file("a/b/c.txt", b"1")
    graph.drive.put_file("a/d.txt", b"22")
    entries, link = graph.delta()
    assert names_in(entries) == ["root", "a", "b", "c.txt", "d.txt"]
    assert entries[0]["root"] == {} and "id" not in entries[0]["parentReference"]
    assert graph.delta(link)[0] == []


def test_a_rename_of_a_folder_tells_the_folder_alone(graph: Any) -> None:
    """Nothing below a renamed folder is told, only the folder and what is above it."""
    graph.drive.put_file("a/b/c.txt", b"1")
    _, link = graph.delta()
    graph.drive.rename("a/b", "z")
    entries, link = graph.delta(link)
    assert names_in(entries) == ["root", "a", "z"]
    graph.drive.rename("a/z", "y")
    assert names_in(graph.delta(link, deltaexcludeparent="true")[0]) == ["root", "y"]


def test_several_changes_are_told_as_the_latest_state(graph: Any) -> None:
    """An item that changed often comes once, and one that came and went leaves a tombstone at most."""
    graph.drive.make_folder("a")
    _, link = graph.delta()
    for content in (b"1", b"22", b"333"):
        graph.drive.put_file("a/f", content)
    graph.drive.put_file("a/g", b"")
    graph.drive.delete("a/g")
    entries, _ = graph.delta(link)
    assert names_in(entries) == ["root", "a", "f", "(deleted)"]
    assert entries[2]["size"] == 3


def test_a_deleted_folder_is_one_tombstone_unless_switched(graph: Any) -> None:
    """The descendants of a deleted folder are told by a switch alone."""
    graph.drive.put_file("a/b/c.txt", b"1")
    _, link = graph.delta()
    folder = graph.drive.delete("a")
    entries, _ = graph.delta(link)
    assert [entry["id"] for entry in entries] == [folder.id]
    graph.switches.descendant_tombstones = True
    assert len(graph.delta(link)[0]) == 3


def test_a_business_tombstone_has_neither_name_nor_size(graph: Any) -> None:
    """Id, parent and the deleted facet: all that a business tenant says of a deleted item."""
    graph.drive.put_file("a", b"1")
    _, link = graph.delta()
    item = graph.drive.delete("a")
    graph.switches.delete_state = "softdeleted"
    (entry,), _ = graph.delta(link)
    parent = {"driveType": "business", "driveId": graph.drive.id, "id": graph.drive.root.id}
    expected = {"id": item.id, "parentReference": parent, "deleted": {"state": "softdeleted"}}
    assert entry == {"@odata.type": "#microsoft.graph.driveItem", **expected}
    graph.switches.tombstone_leftovers = True
    (entry,), _ = graph.delta(link)
    assert entry["size"] == 0 and entry["file"]["hashes"]["quickXorHash"] == "A" * 27 + "="
    assert entry["fileSystemInfo"]["lastModifiedDateTime"].startswith("0001-")


def test_a_personal_tombstone_keeps_its_name(personal: Any) -> None:
    """Personal drives name what was deleted and leave out size and cTag."""
    personal.drive.put_file("a.txt", b"1")
    _, link = personal.delta()
    personal.drive.delete("a.txt")
    (entry,), _ = personal.delta(link)
    assert entry["name"] == "a.txt" and not {"size", "cTag"} & entry.keys()


def test_a_tombstone_without_its_facet_selected_looks_alive(graph: Any) -> None:
    """`$select` without `deleted` hides that an item is gone, as the real feed does."""
    graph.drive.put_file("a", b"1")
    _, link = graph.delta(graph.on_drive("/root/delta?$select=id,name,file"))
    item = graph.drive.delete("a")
    assert graph.delta(link)[0] == [{"@odata.type": "#microsoft.graph.driveItem", "id": item.id}]


def test_the_business_feed_has_no_ctag_and_no_path(graph: Any, personal: Any) -> None:
    """What the feed leaves out it has elsewhere; the parent's path comes by a switch; personal feeds have the cTag."""
    graph.drive.put_file("a b/c", b"1")
    entry = graph.delta()[0][-1]
    assert "cTag" not in entry and "path" not in entry["parentReference"]
    one = graph.get(graph.on_drive(f"/items/{entry['id']}"))
    assert one["cTag"] and one["parentReference"]["path"] == f"/drives/{graph.drive.id}/root:/a%20b"
    graph.switches.parent_path = True
    assert graph.delta()[0][-1]["parentReference"]["path"].endswith("/root:/a%20b")
    personal.drive.put_file("a", b"1")
    assert all("cTag" in entry for entry in personal.delta()[0])


def test_latest_begins_without_telling_anything(graph: Any) -> None:
    """`token=latest` gives a delta link at once, and that link tells what happens from then on."""
    graph.drive.put_file("old", b"1")
    entries, link = graph.delta(graph.on_drive("/root/delta?token=latest"))
    assert entries == []
    graph.drive.put_file("new", b"1")
    assert names_in(graph.delta(link)[0]) == ["root", "new"]
    by_function = graph.on_drive("/root/delta(token='latest')")
    assert graph.delta(by_function)[0] == []


def test_a_time_of_day_is_a_token_in_business_alone(graph: Any, personal: Any) -> None:
    """Changes since a moment; a personal drive answers 400."""
    graph.drive.put_file("old", b"1")
    graph.clock.advance(60)
    moment = graph.clock.now().strftime("%Y-%m-%dT%H%%3A%M%%3A%SZ")
    graph.clock.advance(60)
    graph.drive.put_file("new", b"1")
    assert names_in(graph.delta(graph.on_drive(f"/root/delta?token={moment}"))[0]) == ["root", "new"]
    refusal = personal.refused(personal.on_drive(f"/root/delta?token={moment}"))
    assert refusal == (400, "invalidRequest")


def test_pages_are_no_longer_than_asked_and_links_carry_the_options(graph: Any) -> None:
    """`$top` lowers the page size and never raises it; options travel in the links, as Graph spells them there."""
    graph.drive.fill(30, folders=1)
    graph.switches.page_size = 10
    page = graph.get(graph.on_drive("/root/delta?$top=7&$select=id,name"))
    assert len(page["value"]) == 7 and set(page["value"][1]) == {"@odata.type", "id", "name"}
    following = graph.get(page["@odata.nextLink"])
    assert len(following["value"]) == 7 and following["value"][0]["name"] == "file-0000005.bin"
    assert "$select=id%2Cname&$top=7&token=" in page["@odata.nextLink"]
    assert len(graph.get(graph.on_drive("/root/delta?$top=500"))["value"]) == 10
    _, link = graph.delta(graph.on_drive("/root/delta?$select=id,name"))
    assert "/delta?select=id%2Cname&token=" in link


def test_a_page_may_be_asked_for_again(graph: Any) -> None:
    """A next link gives the same items as often as it is followed, as a retry needs it."""
    graph.drive.fill(30, folders=1)
    graph.switches.page_size, graph.switches.page_jitter = 10, True
    link = graph.get(graph.on_drive("/root/delta"))["@odata.nextLink"]
    first, second = graph.get(link), graph.get(link)
    assert first["value"] == second["value"]


def test_jitter_makes_pages_of_all_sizes_and_loses_nothing(graph: Any) -> None:
    """Pages vary, some are empty though more follow, and every item comes exactly once."""
    graph.drive.fill(300, folders=3)
    graph.switches.page_size, graph.switches.page_jitter = 10, True
    lengths, ids, link = set(), [], graph.on_drive("/root/delta")
    while link:
        page = graph.get(link)
        lengths.add(len(page["value"]))
        ids += [entry["id"] for entry in page["value"]]
        link = page.get("@odata.nextLink")
    assert 0 in lengths and len(lengths) > 5 and max(lengths) <= 10
    assert len(ids) == len(set(ids)) == 304


def test_repeats_bring_the_outdated_entry_first(graph: Any) -> None:
    """With repeats some items come twice; the last entry is the true one."""
    graph.drive.fill(200, folders=4)
    graph.switches.repeats = True
    entries, _ = graph.delta()
    last = {entry["id"]: entry for entry in entries}
    repeated = len(entries) - len(last)
    assert 5 <= repeated <= 50
    assert names_in(list(last.values())).count("root") == 1
    assert not any(name.startswith("outdated") for name in names_in(list(last.values())))
    assert sum(name.startswith("outdated") for name in names_in(entries)) == repeated


def test_order_is_switched(graph: Any) -> None:
    """Children before their parents, and tombstones before everything, where a switch says so."""
    graph.drive.put_file("a/b/c", b"1")
    graph.drive.put_file("gone", b"1")
    _, link = graph.delta()
    graph.switches.children_first = True
    assert names_in(graph.delta()[0]) == ["gone", "c", "b", "a", "root"]
    graph.switches.children_first = False
    graph.drive.put_file("a/b/c", b"2")
    graph.drive.delete("gone")
    graph.switches.tombstones_first = True
    assert names_in(graph.delta(link)[0]) == ["(deleted)", "root", "a", "b", "c"]


@pytest.mark.parametrize("switch", ["drop_tombstones", "drop_changes"])
def test_a_lossy_feed_loses_its_share(graph: Any, switch: str) -> None:
    """Half of the deletions, or of the edits, are never told; a first reading is whole all the same."""
    graph.drive.fill(200, folders=1)
    _, link = graph.delta()
    setattr(graph.switches, switch, 0.5)
    for path, _ in graph.drive.files():
        if switch == "drop_tombstones":
            graph.drive.delete(path)
        else:
            graph.drive.put_file(path, b"new")
    told = len(graph.delta(link, deltaexcludeparent="1")[0])
    assert 60 < told < 140
    assert len(graph.delta()[0]) == (2 if switch == "drop_tombstones" else 202)


@pytest.mark.parametrize("code", ["resyncRequired", "resyncChangesApplyDifferences", "SyncStateNotFound"])
def test_an_expired_position_answers_410_with_the_way_out(graph: Any, code: str) -> None:
    """Delta links and next links are gone, the Location begins a whole enumeration with the same options."""
    graph.drive.fill(20, folders=1)
    graph.switches.page_size, graph.switches.resync_code = 10, code
    following = graph.get(graph.on_drive("/root/delta"))["@odata.nextLink"]
    _, link = graph.delta(graph.on_drive("/root/delta?$select=id"))
    graph.switches.expire_positions()
    assert graph.refused(following) == (410, code)
    response = graph.ask(link)
    assert response.status == 410 and json.loads(response.body)["error"]["code"] == code
    entries, link = graph.delta(response.headers["location"])
    assert len(entries) == 22 and set(entries[0]) == {"@odata.type", "id"}
    assert graph.delta(link)[0] == []


def test_positions_expire_with_age_where_switched(graph: Any) -> None:
    """A delta link older than the switch says is refused, a younger one is not."""
    graph.switches.position_seconds = 3600
    _, link = graph.delta()
    graph.clock.advance(3600)
    assert graph.delta(link)[0] == []
    graph.clock.advance(1)
    assert graph.refused(link)[0] == 410


def test_a_foreign_or_invented_token_is_a_bad_request(graph: Any) -> None:
    """Neither garbage nor another folder's token is taken for a position."""
    graph.drive.make_folder("a")
    token = graph.delta()[1].partition("token=")[2]
    assert graph.refused(graph.on_drive("/root/delta?token=aTE09MjM")) == (400, "invalidRequest")
    assert graph.refused(graph.on_drive(f"/root:/a:/delta?token={token}")) == (400, "invalidRequest")
    for spoilt in (token[:-9], "A" + token[1:], token[: len(token) // 2]):
        assert graph.ask(graph.on_drive(f"/root/delta?token={spoilt}")).status == 400


def test_a_change_while_paging_is_told_in_the_same_reading_or_the_next(graph: Any) -> None:
    """With catch-up the reading ends with what happened meanwhile; without, the next delta has it. Never neither."""
    graph.switches.page_size = 3
    for catch_up in (True, False):
        graph.switches.catch_up = catch_up
        graph.drive.fill(9, folders=1, path=f"t{catch_up}")
        first = graph.get(graph.on_drive("/root/delta"))
        graph.drive.put_file(f"new-{catch_up}", b"1")
        graph.drive.delete(f"t{catch_up}/folder-00000/file-0000000.bin")
        entries, link = graph.delta(first["@odata.nextLink"])
        assert (f"new-{catch_up}" in names_in(entries)) is catch_up
        later = graph.delta(link)[0]
        assert later == [] if catch_up else {f"new-{catch_up}", "(deleted)"} <= set(names_in(later))


def test_the_feed_of_a_folder_knows_its_border(graph: Any) -> None:
    """What leaves the folder is as good as deleted, what comes in comes whole, what happens outside is not told."""
    graph.drive.put_file("in/stays", b"1")
    leaver = graph.drive.put_file("in/leaves", b"1")
    graph.drive.put_file("out/tree/deep/f", b"1")
    link = graph.delta(graph.on_drive("/root:/in:/delta"))[1]
    graph.drive.put_file("out/other", b"1")
    assert graph.delta(link)[0] == []
    graph.drive.move("in/leaves", "out")
    graph.drive.move("out/tree", "in")
    entries, link = graph.delta(link)
    told = {entry["id"]: entry for entry in entries}
    assert told[leaver.id]["deleted"] and "name" not in told[leaver.id]
    assert [name for name in names_in(entries) if name != "(deleted)"] == ["in", "tree", "deep", "f"]
    graph.drive.delete("in")
    assert graph.refused(link) == (404, "itemNotFound")


def test_sharing_changes_need_their_companions(graph: Any) -> None:
    """The Prefer header that asks for sharing changes is refused without the two that it needs."""
    link = graph.on_drive("/root/delta")
    assert graph.refused(link, prefer="deltashowsharingchanges") == (400, "invalidRequest")
    whole = "deltashowremovedasdeleted, deltatraversepermissiongaps, deltashowsharingchanges"
    assert graph.ask(link, prefer=whole).status == 200


def test_old_enumerations_are_forgotten_with_410(graph: Any) -> None:
    """Somebody who begins a hundred enumerations finds the first one gone, not wrong."""
    graph.drive.fill(5, folders=1)
    graph.switches.page_size = 2
    link = graph.get(graph.on_drive("/root/delta"))["@odata.nextLink"]
    for _ in range(70):
        graph.get(graph.on_drive("/root/delta"))
    assert graph.refused(link) == (410, "resyncRequired")


def test_links_are_opaque_but_whole(graph: Any) -> None:
    """A link names Graph's own origin and needs no header but the token's."""
    link = graph.delta()[1]
    parts = urllib.parse.urlsplit(link)
    assert (parts.scheme, parts.netloc) == ("https", "localhost:1")
    assert parts.path == f"/v1.0/drives/{graph.drive.id}/items/{graph.drive.root.id}/delta"
