"""The walk of a full scan: everything once, folders first, and nothing missing without a word."""

import json
import re
import threading
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import requests
import responses

from backup_core.errors import Inconsistent, NotFound, Temporary
from backup_core.graph.children import walk
from backup_core.graph.items import DriveItem

ROOT = "https://graph.microsoft.com/v1.0/drives/b!x/items/"
Graph = responses.RequestsMock
Reply = tuple[int, dict[str, str], str]


class Drive:
    """Folders with their children, two to a page; counts what is asked for, and how many at a time."""

    def __init__(self, tree: dict[str, list[str]], missing: frozenset[str] = frozenset()) -> None:
        self.tree, self.missing = tree, missing
        self.asked: list[str] = []
        self.lock = threading.Lock()

    def __call__(self, request: requests.PreparedRequest) -> Reply:
        parts = urlsplit(request.url)
        folder, _, rest = unquote(parts.path).split("/items/")[1].partition("/")
        with self.lock:
            self.asked.append(folder)
        if rest != "children":
            known = folder in self.tree and folder not in self.missing
            return (200, {}, json.dumps({"id": folder, "folder": {}})) if known else (404, {}, "")
        if folder not in self.tree or folder in self.missing:
            return 404, {}, ""
        start = int(parts.query.rpartition("skip=")[2]) if "skip=" in parts.query else 0
        page: dict[str, Any] = {"value": [self.item(name, folder) for name in self.tree[folder][start : start + 2]]}
        if start + 2 < len(self.tree[folder]):
            page["@odata.nextLink"] = f"{ROOT}{folder}/children?skip={start + 2}"
        return 200, {}, json.dumps(page)

    def item(self, name: str, folder: str) -> dict[str, Any]:
        facet = {"folder": {}} if name in self.tree else {"file": {}, "size": 1}
        if name.startswith("Notebook"):
            facet = {"package": {"type": "oneNote"}}
        if name.startswith("Link"):
            facet = {"remoteItem": {"folder": {}}}
        return {"id": name, "name": name, "parentReference": {"id": folder}, **facet}


def walked(world: Any, graph: Graph, drive: Drive, threads: int = 3) -> list[DriveItem]:
    graph.add_callback("GET", re.compile(ROOT.replace("!", "(!|%21)") + ".*"), drive)
    pages = walk(world.client(retries=1), "b!x", ["Root"], threads, set(), "Root")
    return [item for page in pages for item in page.items]


TREE = {
    "Root": ["Folder1", "file1", "Folder2", "Notebook", "Link", "file2", "file3"],
    "Folder1": ["file4", "Folder3", "file5"],
    "Folder2": [],
    "Folder3": ["file6"],
    "Notebook": ["section.one"],
    "Link": ["not ours"],
}


@pytest.mark.parametrize("threads", [1, 3])
def test_everything_once(world: Any, graph: Graph, threads: int) -> None:
    """Each item comes once, a folder before its content; notebooks are walked, links to other drives are not."""
    drive = Drive(TREE)
    ids = [item.id for item in walked(world, graph, drive, threads)]
    expected = {name for folder, names in TREE.items() if folder != "Link" for name in names}
    assert sorted(ids) == sorted(expected)
    assert ids.index("Folder1") < ids.index("Folder3") < ids.index("file6")
    assert "Link" not in drive.asked


def test_a_folder_that_vanishes(world: Any, graph: Graph) -> None:
    """A folder deleted during the walk is passed over: that it is gone was asked for and confirmed."""
    drive = Drive(TREE, missing=frozenset({"Folder1"}))
    ids = [item.id for item in walked(world, graph, drive)]
    assert "file1" in ids
    assert "file4" not in ids
    assert drive.asked.count("Folder1") == 2


def test_a_folder_that_is_there_but_cannot_be_listed(world: Any, graph: Graph) -> None:
    """404 for the list of a folder that exists ends the walk: its files must not count as deleted."""

    class Unlisted(Drive):
        def __call__(self, request: requests.PreparedRequest) -> Reply:
            listing = "/Folder1/children" in (request.url or "")
            return (404, {}, "") if listing and "skip=" in (request.url or "") else super().__call__(request)

    with pytest.raises(Temporary):
        walked(world, graph, Unlisted(TREE))


def test_the_top_must_be_there(world: Any, graph: Graph) -> None:
    """A walk of a folder that is not there is an error, not an empty drive."""
    with pytest.raises(NotFound):
        walked(world, graph, Drive(TREE, missing=frozenset({"Root"})))


def test_trouble_in_one_folder_ends_the_walk(world: Any, graph: Graph) -> None:
    """A folder that answers 502 for ever ends the walk with its error: a partial list is no list."""

    class Broken(Drive):
        def __call__(self, request: requests.PreparedRequest) -> Reply:
            return (502, {}, "") if "/Folder3/" in (request.url or "") else super().__call__(request)

    with pytest.raises(Temporary):
        walked(world, graph, Broken(TREE))


def test_a_list_in_a_circle(world: Any, graph: Graph) -> None:
    """A page that leads back to one that was read ends the walk."""

    class Circle(Drive):
        def __call__(self, request: requests.PreparedRequest) -> Reply:
            status, headers, text = super().__call__(request)
            page = json.loads(text)
            page["@odata.nextLink"] = f"{ROOT}Root/children?skip=2"
            return status, headers, json.dumps(page)

    with pytest.raises(Inconsistent):
        walked(world, graph, Circle({"Root": ["file1", "file2", "file3"]}))


def test_folders_in_a_circle(world: Any, graph: Graph) -> None:
    """Folders that contain each other are walked once."""
    drive = Drive({"Root": ["Folder1"], "Folder1": ["Folder2", "Root"], "Folder2": ["Folder1"]})
    walked(world, graph, drive)
    assert sorted(drive.asked) == ["Folder1", "Folder2", "Root"]


def test_an_abandoned_walk_ends(world: Any, graph: Graph) -> None:
    """A walk that nobody reads on leaves no thread behind."""
    graph.add_callback("GET", re.compile(ROOT.replace("!", "(!|%21)") + ".*"), Drive(TREE))
    pages = walk(world.client(), "b!x", ["Root"], 2, set(), "Root")
    next(pages)
    pages.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("walk")]
