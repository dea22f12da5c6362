"""A walk through a drive, folder by folder, for a full scan. What changes during the walk may be missed by it."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import NamedTuple

from backup_core.errors import Inconsistent, Interrupted, NotFound, Temporary
from backup_core.graph.client import GraphClient
from backup_core.graph.drives import drive_errors, get_item, item_path
from backup_core.graph.items import SELECT, DriveItem, parse_item

PAGE_ITEMS = 999  # the most that Graph takes


class Listed(NamedTuple):
    """A page of one folder's children. `folders`: those among them that nobody has come to before."""

    folder: str
    items: list[DriveItem]
    folders: list[str]
    is_last: bool


class _Folder(NamedTuple):
    drive_id: str
    id: str
    top: bool = False


class _Page(NamedTuple):
    items: list[DriveItem]
    folder: _Folder
    links: frozenset[str]  # every page of this folder that was read
    next_link: str


def walk(
    client: GraphClient,
    drive_id: str,
    folders: Iterable[str],
    threads: int,
    walked: set[str],
    top: str = "",
    late: Callable[[], bool] = lambda: False,
) -> Iterator[Listed]:
    """Everything in these folders and below, a page of one folder's children at a time; a folder comes before what
    lies in it. `walked`: folders that are known, which are not come to again; those that are found are added.

    Once it is `late` no folder is begun any more. A folder that is deleted during the walk ends quietly; NotFound
    where that is `top`.
    """
    waiting = list(folders)
    walked.update(waiting)
    reading: set[Future[_Page]] = set()
    begun = False
    pool = ThreadPoolExecutor(threads, thread_name_prefix="walk")
    patient = True
    try:
        while True:
            # One of them at least, however late it is: who never begins one comes to no end.
            while waiting and len(reading) < threads and not (begun and late()):
                begun = True
                folder = waiting.pop()  # the newest first, which keeps the list short
                reading.add(pool.submit(_first_page, client, _Folder(drive_id, folder, folder == top)))
            if not reading:
                return
            done, reading = wait(reading, return_when=FIRST_COMPLETED)
            for future in done:
                page = future.result()
                if page.next_link:
                    reading.add(pool.submit(_next_page, client, page))
                found = _new_folders(page, walked)
                waiting += found
                yield Listed(page.folder.id, page.items, found, not page.next_link)
    except Interrupted:
        patient = False  # a person who stops a walk does not wait for answers that hang
        raise
    finally:
        pool.shutdown(wait=patient, cancel_futures=True)


def _new_folders(page: _Page, walked: set[str]) -> list[str]:
    ids = [item.id for item in page.items if item.kind in ("folder", "package")]
    found = [each for each in dict.fromkeys(ids) if each not in walked]
    walked.update(found)
    return found


def _first_page(client: GraphClient, folder: _Folder) -> _Page:
    path = item_path(folder.drive_id, folder.id)
    link = f"{client.base_url}{path}/children?$select={SELECT}&$top={PAGE_ITEMS}"
    return _read(client, folder, frozenset(), link)


def _next_page(client: GraphClient, page: _Page) -> _Page:
    if page.next_link in page.links:
        raise Inconsistent(
            "Microsoft's list of a folder goes round in a circle.",
            why="A page leads back to one that was read already.",
            remedy="Run the same command again later.",
        )
    return _read(client, page.folder, page.links, page.next_link)


def _read(client: GraphClient, folder: _Folder, links: frozenset[str], link: str) -> _Page:
    try:
        with drive_errors("this folder"):
            json = client.get_json(link, valid=lambda answer: isinstance(answer.get("value"), list))
    except NotFound:
        _check_deleted(client, folder)
        return _Page([], folder, links, "")
    next_link = json.get("@odata.nextLink")
    items = [parse_item(item) for item in json["value"]]
    return _Page(items, folder, links | {link}, next_link if isinstance(next_link, str) else "")


def _check_deleted(client: GraphClient, folder: _Folder) -> None:
    """A folder that is there but cannot be listed must not pass for an empty one: its files would count as deleted."""
    try:
        get_item(client, folder.drive_id, folder.id)
    except NotFound:
        if folder.top:
            raise
        return
    raise Temporary(
        "Microsoft broke off the list of a folder.",
        why="It answered 404, and the folder is there.",
        remedy="Run the same command again later; `-source onedrive-changes` needs no list of folders.",
    )
