"""Folders that come, go and move in the worst order, damaged trees, folders taken as roots, totals that stay true."""

import datetime
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.world import World, world

from backup_core.backup.job import BackupJob, Components, Summary
from backup_core.backup.progress import NoProgress
from backup_core.backup.runner import back_up
from backup_core.errors import NotFound
from backup_core.graph.client import GraphClient
from backup_core.graph.download import Downloads
from backup_core.graph.drives import my_drive
from backup_core.graph.gate import Gate
from backup_core.graph.links import LinkRule
from backup_core.graph.sign_in import SignedIn
from backup_core.graph.sign_in_host import SignInHost
from backup_core.graph.token_file import TokenFile
from backup_core.graph.transport import new_session
from backup_core.repository import layout
from backup_core.repository.blobs import BlobReader
from backup_core.repository.index import load_index
from backup_core.storage.metered import MeteredStore
from backup_core.testing.fake_clock import FakeClock
from backup_core.testing.m365.faults import Alter
from backup_core.testing.m365.wire import Response


def furnish(fresh: World) -> None:
    for number in range(12):
        fresh.drive.put_file(f"/d{number % 3}/s{number % 2}/file{number}.txt", b"content %d" % number)
    fresh.drive.make_folder("/empty")


def assert_totals(fresh: World, summary: Summary) -> None:
    """Not only the snapshot: every figure that is carried on from run to run."""
    fresh.assert_same(summary)
    head = newest_head(fresh)
    assert head.totals.files == len(fresh.drive.files())
    assert head.totals.folders == len(fresh.drive.folders())
    assert head.totals.bytes == summary.bytes_total == sum(item.size for _, item in fresh.drive.files())


def newest_head(fresh: World) -> Any:
    from backup_core.drive_state.head import choose_head

    return choose_head(fresh.open_repository()).head


def meanwhile(act: Callable[[], Any]) -> Alter:
    def change(response: Response) -> Response:
        act()
        return response

    return Alter(change)


# -- what the feed does not say -----------------------------------------------------------------------------------


@pytest.mark.parametrize("nth", [1, 2, 3, 4])
@pytest.mark.parametrize("first", [True, False])
def test_folder_that_moves_while_a_scan_walks(fresh: World, nth: int, first: bool) -> None:
    """A folder that slips past a walk is in this snapshot or in the next one, with all that lies in it."""
    furnish(fresh)
    if not first:
        fresh.back_up(source="onedrive")
    fresh.m365.faults.add(
        match=r"GET graph .*/children", nth=nth, fault=meanwhile(lambda: fresh.drive.move("/d2/s0", "/d0/s1"))
    )
    fresh.back_up(source="onedrive")
    summary = fresh.back_up()
    assert summary.mode == "delta"
    assert_totals(fresh, summary)


def test_folder_that_slips_past_a_walk_with_one_page(fresh: World) -> None:
    """The same for a folder that moves from a folder not listed yet into one that is listed already."""
    furnish(fresh)
    done: list[str] = []

    def slip(response: Response) -> Response:
        listed = {each["name"] for each in json.loads(response.body)["value"]}
        if "s0" in listed and not done:
            done.append("moved")
            here = fresh.drive.by_id(json.loads(response.body)["value"][0]["parentReference"]["id"])
            other = next(path for path in ("/d0", "/d1", "/d2") if fresh.drive.item(path) is not here)
            fresh.drive.rename(f"{other}/s1", "slipped")
            fresh.drive.move(f"{other}/slipped", here.path)
        return response

    fresh.m365.faults.add(match=r"GET graph .*/children", times=4, fault=Alter(slip))
    fresh.back_up(source="onedrive", threads=1)
    assert done
    assert_totals(fresh, fresh.back_up())


def test_folder_back_from_the_recycle_bin_without_a_word_of_its_content(fresh: World) -> None:
    """Where the feed tells of a restored folder alone, what lies in it is saved nevertheless."""
    furnish(fresh)
    fresh.back_up()
    item = fresh.drive.delete("/d1")
    fresh.back_up()
    fresh.drive.restore(item)

    def folder_alone(response: Response) -> Response:
        page = json.loads(response.body)
        page["value"] = [each for each in page["value"] if each["id"] in (item.id, fresh.drive.root.id)]
        return Response(response.status, dict(response.headers), json.dumps(page).encode())

    fresh.m365.faults.add(match=r"GET graph .*/delta", fault=Alter(folder_alone))
    assert_totals(fresh, fresh.back_up())


@pytest.mark.parametrize("descendants", [True, False])
def test_totals_after_nested_deletions(fresh: World, descendants: bool) -> None:
    """Files deleted before, with, and after their folders are counted once each; those moved out are not counted."""
    furnish(fresh)
    fresh.back_up()
    fresh.m365.switches.descendant_tombstones = descendants
    fresh.drive.delete("/d0/s0/file0.txt")
    fresh.drive.move("/d0/s1", "/rescued/below")
    fresh.drive.delete("/rescued/below/s1/file3.txt")
    fresh.drive.delete("/d0/s0")
    fresh.drive.delete("/d0")
    summary = fresh.back_up()
    assert (summary.mode, summary.files_deleted, summary.folders_new) == ("delta", 3, 2)
    assert_totals(fresh, summary)


def test_folder_into_a_folder_that_is_new_into_one_that_moved(fresh: World) -> None:
    """New folders between moved ones, turned inside out in one delta."""
    furnish(fresh)
    fresh.back_up()
    fresh.drive.move("/d0", "/d1/s1/new")
    fresh.drive.move("/d1/s1", "/other/new")
    fresh.drive.move("/d1", "/other/new/s1/new/d0")
    fresh.drive.put_file("/other/new/s1/new/d0/d1/added.txt", b"added")
    fresh.drive.rename("/d2", "d0")
    summary = fresh.back_up()
    assert (summary.mode, summary.files_new, summary.files_deleted) == ("delta", 1, 0)
    assert_totals(fresh, summary)


# -- damage -------------------------------------------------------------------------------------------------------


def tree_packs(fresh: World) -> list[str]:
    repository = fresh.open_repository()
    packs = [pack for index in repository.ids("index") for pack in load_index(repository, index)]
    return [layout.pack_name(pack.id.hex()) for pack in packs if pack.blobs[0].tree]


@pytest.mark.parametrize("change", ["delete", "edit", "nothing", "move"])
@pytest.mark.parametrize("gone", [True, False])
def test_damaged_trees(fresh: World, monkeypatch: pytest.MonkeyPatch, gone: bool, change: str) -> None:
    """Trees that cannot be read cost an enumeration, and stop neither this run nor a later one."""
    # Of a blob that is stored twice, a reader that knows all copies finds the sound one.
    monkeypatch.setattr("support.world.BlobReader", lambda all, locate: BlobReader(all, locate, locate.__self__.copies))
    furnish(fresh)
    fresh.back_up()
    first = set(tree_packs(fresh))
    fresh.drive.put_file("/top.txt", b"so that the root's tree is sound")
    fresh.back_up()
    for name in first:
        data = bytearray(fresh.store.get(name))
        fresh.store.delete(name)
        if not gone:
            data[:] = bytes(len(data))
            fresh.store.put_new(name, bytes(data))
    if change == "delete":
        fresh.drive.delete("/d0")
    elif change == "edit":
        fresh.drive.put_file("/d0/s0/file0.txt", b"other")
    elif change == "move":
        fresh.drive.move("/d0", "/empty")
    summary = fresh.back_up()
    if change == "delete":  # d1 and d2 were not looked at
        assert summary.files_total == 9
    if change == "edit":
        assert_totals(fresh, summary)
    assert_totals(fresh, fresh.back_up(source="onedrive"))
    assert_totals(fresh, fresh.back_up())


# -- a folder as the root -----------------------------------------------------------------------------------------


def inside(fresh: World, root: str) -> dict[str, Any]:
    return {path.removeprefix(f"{root}/"): e for path, e in fresh.expected().items() if path.startswith(f"{root}/")}


def test_root_folder_that_is_made_anew(fresh: World) -> None:
    """A folder that is deleted and made again under its path has another id: it is listed, and the position is its."""
    furnish(fresh)
    fresh.back_up(root_path="d1")
    fresh.drive.delete("/d1")
    with pytest.raises(NotFound):
        fresh.back_up(root_path="d1")
    fresh.drive.put_file("/d1/again.txt", b"again")
    summary = fresh.back_up(root_path="D1")
    assert summary.mode == "resync"
    assert fresh.contents(str(summary.snapshot_id)) == inside(fresh, "d1")
    assert (summary.files_new, summary.files_deleted, summary.files_total) == (1, 4, 1)
    fresh.drive.put_file("/d1/more.txt", b"more")
    summary = fresh.back_up(root_path="d1")
    assert summary.mode == "delta"
    assert fresh.contents(str(summary.snapshot_id)) == inside(fresh, "d1")


@pytest.mark.parametrize("source", ["onedrive-changes", "onedrive"])
def test_root_folder_with_traffic_over_its_border(fresh: World, source: Any) -> None:
    """What goes out of the folder is deleted, what comes in is new, whole branches too; totals are the folder's."""
    furnish(fresh)
    fresh.back_up(root_path="d1")
    fresh.drive.move("/d1/s0", "/d2/taken")
    fresh.drive.move("/d0/s1", "/d1/brought")
    fresh.drive.put_file("/d1/brought/s1/extra.txt", b"extra")
    fresh.drive.delete("/d1/s1/file1.txt")
    summary = fresh.back_up(root_path="d1", source=source)
    assert fresh.contents(str(summary.snapshot_id)) == inside(fresh, "d1")
    assert summary.complete
    assert summary.files_total == sum(kind == "file" for kind, *_ in inside(fresh, "d1").values())
    assert newest_head(fresh).totals.files == summary.files_total
    fresh.drive.move("/d2/taken/s0", "/d1")
    summary = fresh.back_up(root_path="d1")
    assert fresh.contents(str(summary.snapshot_id)) == inside(fresh, "d1")


def test_drive_root_in_the_feed_of_a_folder(fresh: World) -> None:
    """A feed that also names the folders above the one taken as the root makes nothing fail."""
    fresh.drive.put_file("/above/root/a.txt", b"a")
    fresh.drive.put_file("/above/other.txt", b"b")

    def add_folders_above(response: Response) -> Response:
        page = json.loads(response.body)
        drive, above = fresh.drive.root, fresh.drive.item("/above")
        page["value"][:0] = [
            {"id": drive.id, "name": "root", "root": {}, "folder": {}, "parentReference": {}},
            {"id": above.id, "name": "above", "folder": {}, "parentReference": {"id": drive.id}},
        ]
        return Response(response.status, dict(response.headers), json.dumps(page).encode())

    for content in (b"one", b"two"):
        fresh.drive.put_file("/above/root/a.txt", content)
        fresh.m365.faults.add(match=r"GET graph .*/delta", fault=Alter(add_folders_above))
        summary = fresh.back_up(root_path="above/root")
        assert summary.complete
        assert fresh.contents(str(summary.snapshot_id)) == inside(fresh, "above/root")


# -- dry runs -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["delta", "resync", "rescan", "full"])
def test_dry_run_tells_what_the_run_does(fresh: World, how: str) -> None:
    """Every figure of a dry run is that of the run which follows, whatever its mode, items that fail included."""
    furnish(fresh)
    fresh.drive.put_file("/bad.txt", b"clean")
    fresh.drive.put_file("/never.txt", b"infected from the start")
    fresh.drive.set_malware("/never.txt")
    fresh.drive.make_package("/Notes")
    if how != "full":
        fresh.back_up()
    fresh.drive.put_file("/bad.txt", b"infected now")
    fresh.drive.set_malware("/bad.txt")
    fresh.drive.put_file("/d0/s0/file0.txt", b"")
    fresh.drive.put_file("/d0/s0/file6.txt", b"other content")
    fresh.drive.put_file("/new/file.txt", b"new")
    fresh.drive.delete("/d1")
    fresh.drive.move("/d2/s0", "/new")
    if how == "resync":
        fresh.m365.switches.expire_positions()
    source: Any = "onedrive" if how == "rescan" else "onedrive-changes"
    told, done = fresh.back_up(dry_run=True, source=source).to_json(), fresh.back_up(source=source).to_json()
    assert told["mode"] == how
    ignored = {"snapshot_id", "bytes_added", "graph_requests", "store_requests", "duration_seconds"}
    assert {name: told[name] for name in told.keys() - ignored} == {name: done[name] for name in done.keys() - ignored}


# -- a personal drive ---------------------------------------------------------------------------------------------


def sign_in(made: World, token_file: Path) -> Components:
    session = new_session(8)
    session.verify = str(made.m365.ca_file)
    host = SignInHost(made.m365.authority_url, session, Gate(made.clock))
    tokens = SignedIn(host, TokenFile(token_file), made.m365.client_id, made.m365.graph_url, "common")
    rule, gate, meter = LinkRule(made.m365.graph_url, ["127.0.0.1"]), Gate(made.clock), MeteredStore(made.store)
    client = GraphClient(made.m365.graph_url, tokens, rule, gate, made.clock, session)
    made._session = session
    return Components(
        made.open_repository(meter),
        client,
        Downloads(client, session, rule, gate, made.clock),
        made.clock,
        meter,
        4 << 20,
    )


def test_personal_drive_whose_ids_change_their_spelling(tmp_path: Path) -> None:
    """However Graph spells its ids, nothing is fetched twice, nothing is lost, and a failed file is found again."""
    token_file = tmp_path / "token.json"
    with world(clock=FakeClock(), business=False) as made:
        made.m365.switches.personal_id_defects = True
        made.m365.switches.page_size = 3
        token_file.write_text(json.dumps({"refresh_token": made.m365.users[0].refresh_token}))

        def run(**job: Any) -> Summary:
            parts = sign_in(made, token_file)
            try:
                return back_up(BackupJob(my_drive(parts.graph), threads=2, **job), parts, NoProgress())
            finally:
                made._session.close()

        furnish(made)
        made.assert_same(run())
        made.drive.put_file("/d0/s0/file0.txt", b"other")
        made.drive.set_locked("/d0/s0/file0.txt")
        made.drive.move("/d1/s1", "/new")
        made.drive.delete("/d2/s0")
        made.m365.log.clear()
        summary = run()
        assert [(item.path, item.reason) for item in summary.items_failed] == [("d0/s0/file0.txt", "locked")]
        assert (summary.mode, summary.files_deleted, summary.files_new) == ("delta", 2, 0)
        made.drive.set_locked("/d0/s0/file0.txt", False)
        made.drive.set_modified("/d1", datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC))
        summary = run()
        assert summary.complete
        assert_totals(made, summary)
        made.m365.switches.expire_positions()
        made.m365.log.clear()
        assert_totals(made, run(source="onedrive"))
        assert not made.downloads()
        assert_totals(made, run())


@pytest.mark.parametrize("source", ["onedrive-changes", "onedrive"])
def test_content_that_the_repository_has_lost(fresh: World, source: Any) -> None:
    """Content of a file that is only re-dated is not taken over from the last snapshot if it is stored nowhere now."""
    fresh.drive.put_file("/a.txt", b"content")
    fresh.back_up()
    repository = fresh.open_repository()
    for index in repository.ids("index"):
        (pack,) = load_index(repository, index)
        if not pack.blobs[0].tree:
            fresh.store.delete(layout.index_name(index))
            fresh.store.delete(layout.pack_name(pack.id.hex()))
    fresh.drive.set_modified("/a.txt", datetime.datetime(2031, 1, 1, tzinfo=datetime.UTC))
    summary = fresh.back_up(source=source)
    assert (summary.files_unmodified, summary.bytes_downloaded) == (1, 7)
    fresh.assert_same(summary)


def test_another_folder_at_the_path_of_the_root(fresh: World) -> None:
    """Where the former folder lives on under another name, its position is not taken for the new folder's."""
    furnish(fresh)
    fresh.back_up(root_path="d1")
    fresh.drive.rename("/d1", "former")
    fresh.drive.put_file("/d1/other.txt", b"other")
    for mode in ("resync", "delta"):
        summary = fresh.back_up(root_path="d1")
        assert summary.mode == mode
        assert fresh.contents(str(summary.snapshot_id)) == inside(fresh, "d1")
