"""Routes of items: addressing, listings, properties, special kinds of items."""

from typing import Any
from urllib.parse import quote

import pytest


def test_an_item_is_found_in_every_way_of_saying_it(graph: Any) -> None:
    """By id, by path, by a path from an item, under the drive, the user and their name; in any case."""
    item = graph.drive.put_file("Documents/a b#%.txt", b"hello")
    folder = graph.drive.item("Documents")
    name = quote("a b#%.txt")
    ways = [
        f"/v1.0/drives/{graph.drive.id}/items/{item.id}",
        f"/v1.0/drives/{quote(graph.drive.id, safe='')}/items/{item.id}",
        f"/v1.0/drives/{graph.drive.id}/root:/Documents/{name}",
        f"/v1.0/drives/{graph.drive.id}/root:/documents/{name.upper()}:",
        f"/v1.0/drives/{graph.drive.id}/items/{folder.id}:/{name}:",
        f"/v1.0/drives/{graph.drive.id}/items/{folder.id}:/{name}",
        f"/v1.0/users/{graph.user.upn}/drive/root:/Documents/{name}",
        f"/v1.0/users/{graph.user.id}/drive/items/{item.id}",
    ]
    assert {graph.get(way)["id"] for way in ways} == {item.id}
    graph.sign_in()
    assert graph.get(f"/v1.0/me/drive/root:/Documents/{name}")["id"] == item.id


def test_every_action_works_by_path_too(graph: Any) -> None:
    """`:/children`, `:/delta` and `:/content` follow a path."""
    graph.drive.put_file("a/b/c", b"1")
    assert [item["name"] for item in graph.get(graph.on_drive("/root:/a:/children"))["value"]] == ["b"]
    assert [item["name"] for item in graph.get(graph.on_drive("/root:/a/b:/delta"))["value"]] == ["b", "c"]
    assert graph.ask(graph.on_drive("/root:/a/b/c:/content")).status == 302


@pytest.mark.parametrize("rest", ["/root:/nope", "/items/01NOPE", "/root:/a/b/c/d", "/root:/nope:/children"])
def test_what_is_not_there_is_404(graph: Any, rest: str) -> None:
    """A missing item, and a path through a file, is itemNotFound."""
    graph.drive.put_file("a/b", b"1")
    assert graph.refused(graph.on_drive(rest)) == (404, "itemNotFound")


@pytest.mark.parametrize(
    "rest", ["/root/thumbnails", "/root:/a:/createUploadSession", "/special/documents", "/root/children?$expand=x"]
)
def test_what_is_not_simulated_says_so(graph: Any, rest: str) -> None:
    """Routes and options that the simulator does not know are refused in its own name."""
    graph.drive.make_folder("a")
    response = graph.ask(graph.on_drive(rest))
    assert response.status == 501 and b"simulated Microsoft 365 does not know" in response.body


def test_writing_is_refused(graph: Any) -> None:
    """The read side is all there is so far."""
    for method in ("PUT", "PATCH", "DELETE", "POST"):
        assert graph.refused(graph.on_drive("/root/children"), method=method)[0] == 501


def test_children_come_in_pages_that_together_are_the_folder(graph: Any) -> None:
    """Every child once, pages no longer than the switch or `$top`, options carried along in opaque links."""
    graph.drive.fill(25, folders=1, path="big")
    graph.switches.page_size = 10
    names, lengths, link = [], [], graph.on_drive("/root:/big/folder-00000:/children?$top=999&$select=name")
    while link:
        page = graph.get(link)
        assert all(set(item) == {"name"} for item in page["value"])
        names += [item["name"] for item in page["value"]]
        lengths.append(len(page["value"]))
        link = page.get("@odata.nextLink")
    assert names == [f"file-{number:07d}.bin" for number in range(25)]
    assert lengths == [10, 10, 5]
    folder = graph.drive.item("big/folder-00000")
    assert graph.refused(graph.on_drive(f"/items/{folder.id}/children?$skiptoken=abc")) == (400, "invalidRequest")


def test_a_listing_is_not_torn_by_changes_between_pages(graph: Any) -> None:
    """What is deleted or added between two pages moves no neighbour out of sight."""
    graph.drive.fill(20, folders=1)
    graph.switches.page_size = 10
    first = graph.get(graph.on_drive("/root:/folder-00000:/children"))
    graph.drive.delete("folder-00000/file-0000003.bin")
    graph.drive.put_file("folder-00000/aaa", b"1")
    second = graph.get(first["@odata.nextLink"])
    assert [item["name"] for item in second["value"]] == [f"file-{number:07d}.bin" for number in range(10, 20)]


def test_a_listing_shows_every_kind_of_change(graph: Any) -> None:
    """What was added, renamed, moved away or restored is seen by the next listing."""

    def listed() -> list[str]:
        return [item["name"] for item in graph.get(graph.on_drive("/root:/f:/children"))["value"]]

    graph.drive.put_file("f/b", b"1")
    assert listed() == ["b"]
    graph.drive.put_file("f/a", b"1")
    assert listed() == ["a", "b"]
    graph.drive.rename("f/b", "0")
    assert listed() == ["0", "a"]
    graph.drive.move("f/0", "g")
    gone = graph.drive.delete("f/a")
    assert listed() == []
    graph.drive.restore(gone)
    assert listed() == ["a"]


@pytest.mark.parametrize("top", ["0", "-1", "x"])
def test_a_senseless_page_size_is_a_bad_request(graph: Any, top: str) -> None:
    """`$top` must be a positive number."""
    assert graph.refused(graph.on_drive(f"/root/children?$top={top}")) == (400, "invalidRequest")


def test_a_file_shows_what_a_backup_needs(graph: Any) -> None:
    """Size, hash, times of the owner's device, tags, parent and a download URL."""
    item = graph.drive.put_file("a/b.txt", b"hello")
    shown = graph.get(graph.on_drive("/root:/a/b.txt"))
    assert shown["size"] == 5 and shown["file"]["mimeType"] == "text/plain"
    assert shown["file"]["hashes"]["quickXorHash"] == item.quickxor != ""
    assert shown["fileSystemInfo"]["lastModifiedDateTime"] == "2026-03-01T12:00:00Z"
    assert shown["eTag"] == item.etag and shown["cTag"] == item.ctag
    assert shown["parentReference"]["id"] == item.parent.id
    assert shown["@microsoft.graph.downloadUrl"].startswith("https://127.0.0.1:2/")
    assert "folder" not in shown and "root" not in shown


@pytest.mark.parametrize("name", ["content.downloadUrl", "@microsoft.graph.downloadUrl"])
def test_a_selection_is_kept_to_the_letter(graph: Any, name: str) -> None:
    """Only what is selected comes, the download URL under both of its names, and no dollar sign is needed."""
    graph.drive.put_file("a", b"1")
    for option in ("$select", "select"):
        shown = graph.get(graph.on_drive(f"/root:/a?{option}=id,SIZE,{name}"))
        assert set(shown) == {"@odata.context", "id", "size", "@microsoft.graph.downloadUrl"}
    assert "@microsoft.graph.downloadUrl" not in graph.get(graph.on_drive("/root:/a?$select=id,file"))


def test_an_empty_file_has_no_hash_unless_switched(graph: Any) -> None:
    """Nothing, or the all-zero hash; and no file has one where hashes are switched off."""
    graph.drive.put_file("empty", b"")
    graph.drive.put_file("full", b"1")
    assert "hashes" not in graph.get(graph.on_drive("/root:/empty"))["file"]
    graph.switches.empty_hash = True
    assert graph.get(graph.on_drive("/root:/empty"))["file"]["hashes"] == {"quickXorHash": "A" * 27 + "="}
    graph.switches.hash_missing = True
    assert "hashes" not in graph.get(graph.on_drive("/root:/full"))["file"]


def test_microsoft_may_report_what_is_not_true(graph: Any) -> None:
    """A chosen item reports another size and hash than its content has, until it gets new content."""
    graph.drive.put_file("a.docx", b"hello")
    graph.drive.set_reported("a.docx", size=17, quickxor="wrong")
    shown = graph.get(graph.on_drive("/root:/a.docx"))
    assert (shown["size"], shown["file"]["hashes"]["quickXorHash"]) == (17, "wrong")
    graph.drive.set_reported("a.docx", quickxor="")
    assert "hashes" not in graph.get(graph.on_drive("/root:/a.docx"))["file"]
    graph.drive.put_file("a.docx", b"hello!")
    assert graph.get(graph.on_drive("/root:/a.docx"))["size"] == 6


def test_special_items_show_their_facets(graph: Any) -> None:
    """A notebook, a shortcut, an infected file: each by the facet that Microsoft gives it."""
    graph.drive.make_package("Notes")
    graph.drive.put_file("Notes/section.one", b"1")
    graph.drive.add_remote_item("Shared")
    graph.drive.put_file("bad", b"1")
    graph.drive.set_malware("bad", "Eicar")
    package = graph.get(graph.on_drive("/root:/Notes"))
    assert package["package"] == {"type": "oneNote"} and package["folder"] == {"childCount": 1}
    graph.switches.package_folder = False
    assert "folder" not in graph.get(graph.on_drive("/root:/Notes"))
    shared = graph.get(graph.on_drive("/root:/Shared"))
    assert shared["remoteItem"]["parentReference"]["driveId"] and not {"file", "folder"} & shared.keys()
    assert graph.get(graph.on_drive("/root:/bad"))["malware"] == {"description": "Eicar"}
    for path in ("Notes", "Shared"):
        assert graph.refused(graph.on_drive(f"/root:/{path}:/content")) == (404, "itemNotFound")


def test_an_unchanged_item_is_304(graph: Any) -> None:
    """`If-None-Match` with the current tag brings no body."""
    item = graph.drive.put_file("a", b"1")
    link = graph.on_drive("/root:/a")
    assert graph.ask(link, if_none_match=item.etag).status == 304
    assert graph.ask(link + ":/content", if_none_match=item.ctag).status == 304
    graph.drive.rename("a", "A")
    assert graph.ask(link, if_none_match=f"{item.etag}x").status == 200


def test_personal_items_have_milliseconds_and_their_own_ids(personal: Any) -> None:
    """Times, ids and tags as a personal drive has them."""
    personal.drive.put_file("a", b"1")
    shown = personal.get("/v1.0/me/drive/root:/a")
    assert shown["fileSystemInfo"]["lastModifiedDateTime"] == "2026-03-01T12:00:00.123Z"
    assert shown["id"].startswith(personal.drive.id.upper() + "!s")
    assert shown["parentReference"]["driveType"] == "personal"
    assert "cTag" in personal.get("/v1.0/me/drive/root")


def test_defective_personal_ids_change_from_call_to_call_and_still_work(personal: Any) -> None:
    """Case and leading zero of ids differ between two calls, and every spelling finds its item."""
    item = personal.drive.put_file("a", b"1")
    personal.switches.personal_id_defects = True
    spellings = {personal.get("/v1.0/me/drive/root:/a")["id"] for _ in range(4)}
    drives = {personal.get("/v1.0/me/drive")["id"] for _ in range(4)}
    assert len(spellings) == 2 and item.id not in spellings
    assert all(len(drive) == 15 for drive in drives)
    for drive in drives:
        for spelling in spellings:
            assert personal.get(f"/v1.0/drives/{drive}/items/{spelling}")["name"] == "a"


def test_a_blocked_site_is_423_everywhere(graph: Any) -> None:
    """An administrator's lock covers the drive, its items, its feed and its content."""
    graph.drive.put_file("a", b"1")
    url = graph.url_of("a")
    graph.drive.blocked = True
    for rest in ("", "/root", "/root/children", "/root/delta", "/root:/a:/content"):
        assert graph.refused(graph.on_drive(rest)) == (423, "notAllowed")
    assert graph.download(url).status == 423


@pytest.mark.parametrize("name", ["..", "../../etc/passwd", "new\nline", "\u202etxt.exe", "e\u0301", "a:b", "\x00"])
def test_a_hostile_name_arrives_as_it_is(graph: Any, name: str) -> None:
    """The simulator does not wash names: a client has to cope."""
    item = graph.drive.put_file("a", b"1")
    graph.drive.rename("a", name)
    assert graph.get(graph.on_drive(f"/items/{item.id}"))["name"] == name
    assert graph.delta()[0][-1]["name"] == name
