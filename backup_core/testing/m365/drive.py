"""A simulated drive: its tree of items, the rules of names and versions, and the log of changes.

It knows no HTTP, no JSON and no switch. All methods may be called from any thread; whoever reads several things that
must fit together holds `lock`. Paths are written from the root, with or without a leading slash; "" or "/" is the root
itself. Names are not checked: a hostile name is a case worth simulating, and `rename` sets any.
"""

import datetime
import random
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from backup_core.clock import Clock
from backup_core.testing.m365.bodies import Body, BytesBody, SyntheticBody, sha256
from backup_core.testing.m365.changes import ChangeLog
from backup_core.testing.m365.ids import BusinessIds, DriveType, PersonalIds
from backup_core.testing.m365.items import RemoteTarget, SimulatedItem
from backup_core.testing.m365.mount import Mount


@dataclass(frozen=True)
class Owner:
    id: str
    upn: str
    display_name: str


class Entry(NamedTuple):
    """What a restore must bring back of one item. `digest`: SHA-256 of a file's content, else ""."""

    kind: str
    size: int
    digest: str
    modified: datetime.datetime


class Drive:
    def __init__(self, seed: str, drive_type: DriveType, owner: Owner, clock: Clock) -> None:
        self.ids = BusinessIds(seed) if drive_type == "business" else PersonalIds(seed)
        self.id = self.ids.drive
        self.type: DriveType = drive_type
        self.owner = owner
        self.name = "OneDrive"
        if drive_type == "business":
            person = owner.upn.replace("@", "_").replace(".", "_")
            self.web_url = (
                f"https://{owner.upn.partition('@')[2].split('.')[0]}-my.sharepoint.com/personal/{person}/Documents"
            )
        else:
            self.web_url = f"https://onedrive.live.com/?cid={self.id}"
        self.blocked = False  # an administrator has locked the site: every request answers 423
        self.quota_bytes = 1 << 40
        self.lock = threading.RLock()
        self.changes = ChangeLog()
        self._clock = clock
        self._items: dict[str, SimulatedItem] = {}  # deleted ones too
        self._mounts: list[Mount] = []
        self.root = self._new("root", None, None, self.ids.root)
        self.root.children = {}

    # What a test or a person does with the drive.

    def put_file(
        self, path: str, content: bytes | bytearray | Body, modified: datetime.datetime | None = None
    ) -> SimulatedItem:
        """Create the file and the folders above it, or give an existing file new content under its id."""
        body = BytesBody(content) if isinstance(content, bytes | bytearray) else content
        with self.lock:
            folder, name = self._folder_and_name(path)
            item = self._children(folder).get(name.lower())
            if item is None:
                return self._add_file(folder, name, body, modified)
            if item.kind != "file":
                raise FileExistsError(f"{path} is a {item.kind}")
            self._grow(folder, body.size - item.size)
            item.body = body
            item.reported_size = item.reported_quickxor = None
            item.modified = self._precise(modified or self._clock.now())
            self._changed(item, content=True)
            return item

    def put_synthetic(
        self, path: str, size: int, seed: int = 0, modified: datetime.datetime | None = None
    ) -> SimulatedItem:
        """A file of any size whose content is made up when it is read, so that it takes no memory."""
        return self.put_file(path, SyntheticBody(size, seed), modified)

    def make_folder(self, path: str, modified: datetime.datetime | None = None) -> SimulatedItem:
        """The folder at `path`, created with the folders above it where it is missing."""
        with self.lock:
            folder = self.root
            for name in _names(path):
                found = self._children(folder).get(name.lower())
                folder = found or self._add_folder(folder, name, modified)
            if not folder.is_folder:
                raise FileExistsError(f"{path} is a {folder.kind}")
            return folder

    def rename(self, path: str, new_name: str) -> SimulatedItem:
        """Give the item another name in its folder; another case of the old one is a rename too."""
        with self.lock:
            item = self.item(path)
            return self._place(item, self._parent(item), new_name)

    def move(self, path: str, new_parent: str) -> SimulatedItem:
        """Put the item into another folder, which is created where it is missing."""
        with self.lock:
            item = self.item(path)
            folder = self.make_folder(new_parent)
            if folder.is_below(item):
                raise ValueError(f"{new_parent} lies inside {path}")
            return self._place(item, folder, item.name)

    def delete(self, path: str) -> SimulatedItem:
        """Put the item, with everything below it, into the recycle bin."""
        with self.lock:
            item = self.item(path)
            parent = self._parent(item)
            self._detach(item, parent)
            for gone in self.walk(item):
                gone.deleted, gone.with_folder = True, gone is not item
                self._changed(gone)
            return item

    def restore(self, item: SimulatedItem) -> SimulatedItem:
        """Bring an item back from the recycle bin, with everything below it, under its old id and at its old place."""
        with self.lock:
            parent = self._parent(item)
            if not item.deleted or item.with_folder or parent.deleted:
                raise FileNotFoundError(f"{item.path} is not in the recycle bin, or its folder is gone")
            self._attach(item, parent)
            for back in self.walk(item):
                back.deleted = back.with_folder = False
                self._changed(back)
            return item

    def set_modified(self, path: str, modified: datetime.datetime) -> SimulatedItem:
        """Re-date the item and leave its content alone."""
        with self.lock:
            item = self.item(path)
            item.modified = self._precise(modified)
            return self._changed(item)

    def set_malware(self, path: str, name: str | None = "Virus:DOS/EICAR_Test_File") -> SimulatedItem:
        """Microsoft has found something in the file and refuses its content; None lifts that."""
        with self.lock:
            item = self.item(path)
            item.malware = name
            return self._changed(item)

    def set_locked(self, path: str, locked: bool = True) -> SimulatedItem:
        """The content answers 423. No feed tells: a lock is no change of the item."""
        with self.lock:
            item = self.item(path)
            item.locked = locked
            return item

    def set_reported(self, path: str, size: int | None = None, quickxor: str | None = None) -> SimulatedItem:
        """Let Microsoft report another size or hash ("": none) than the content has, until it gets new content."""
        with self.lock:
            item = self.item(path)
            item.reported_size, item.reported_quickxor = size, quickxor
            return self._changed(item)

    def make_package(self, path: str, package: str = "oneNote") -> SimulatedItem:
        """A notebook: a folder that calls itself a package; its sections are ordinary files."""
        with self.lock:
            item = self.make_folder(path)
            item.package = package
            return self._changed(item)

    def add_remote_item(self, path: str, target: RemoteTarget | None = None) -> SimulatedItem:
        """A shortcut to something that lies in another drive."""
        with self.lock:
            folder, name = self._folder_and_name(path)
            item = self._new(name, folder, None)
            item.remote = target or RemoteTarget("b!someone-elses-drive", "01SOMEONEELSESFOLDER")
            return self._attach(item, folder)

    def fill(self, count: int, folders: int = 100, seed: int = 0, path: str = "") -> None:
        """`count` small files (20 to 400 bytes) spread over `folders` folders below `path`; quick for 100,000 too."""
        sizes = random.Random(seed)  # noqa: S311
        with self.lock:
            homes = [self.make_folder(f"{path}/folder-{number:05d}") for number in range(min(folders, count))]
            for number in range(count):
                body = SyntheticBody(sizes.randint(20, 400), seed * 1_000_003 + number)
                self._add_file(homes[number % len(homes)], f"file-{number:07d}.bin", body, None)

    def mount_folder(self, source: Path, at: str = "", *, follow: bool = False) -> None:
        """Show a real folder's content below `at`. With `follow`, what later changes there changes here too.

        Without it the folder is read once, and the drive may be changed in every other way.
        """
        with self.lock:
            mount = Mount(self, source, at)
            if follow:
                self._mounts.append(mount)

    def refresh_mounts(self) -> None:
        """Bring followed folders up to date; Graph does so before it begins to tell what is there."""
        with self.lock:
            for mount in self._mounts:
                mount.refresh()

    # What is there.

    def item(self, path: str) -> SimulatedItem:
        """The live item at a path. FileNotFoundError where there is none."""
        with self.lock:
            item = self.root
            for name in _names(path):
                found = (item.children or {}).get(name.lower())
                if found is None:
                    raise FileNotFoundError(path)
                item = found
            return item

    def by_id(self, item_id: str) -> SimulatedItem | None:
        """The live item of an id, in any spelling that the service accepts."""
        item = self._items.get(self.ids.key(item_id))
        return item if item is not None and not item.deleted else None

    def walk(self, start: SimulatedItem) -> Iterator[SimulatedItem]:
        """The item and everything below it, parents before their children."""
        waiting = [start]
        while waiting:
            item = waiting.pop()
            yield item
            waiting.extend(reversed((item.children or {}).values()))

    def files(self) -> list[tuple[str, SimulatedItem]]:
        """Every file with its path."""
        return [(path, item) for path, item in self._paths() if item.kind == "file"]

    def folders(self) -> list[tuple[str, SimulatedItem]]:
        """Every folder with its path, without the root."""
        return [(path, item) for path, item in self._paths() if item.is_folder]

    def snapshot(self) -> dict[str, Entry]:
        """Everything that a restore of this moment must bring back, by path; shortcuts are left out."""
        return {
            path: Entry(item.kind, item.size if item.body else 0, sha256(item.body) if item.body else "", item.modified)
            for path, item in self._paths()
            if item.kind != "remote"
        }

    def listing(self, folder: SimulatedItem) -> list[str]:
        """The lower-case names in a folder, sorted; kept until it changes, for a folder is read page by page."""
        if folder.sorted_names is None:
            folder.sorted_names = sorted(self._children(folder))
        return folder.sorted_names

    # The rules.

    def _new(
        self,
        name: str,
        parent: SimulatedItem | None,
        modified: datetime.datetime | None,
        item_id: str = "",
    ) -> SimulatedItem:
        if parent is not None and name.lower() in self._children(parent):
            raise FileExistsError(f"{parent.path}/{name}")
        now = self._clock.now()
        item = SimulatedItem(item_id or self.ids.item(len(self._items)), name, parent, self._precise(modified or now))
        self._items[self.ids.key(item.id)] = item
        return self._changed(item)

    def _add_file(
        self, folder: SimulatedItem, name: str, body: Body, modified: datetime.datetime | None
    ) -> SimulatedItem:
        item = self._new(name, folder, modified)
        item.body = body
        return self._attach(item, folder)

    def _add_folder(self, parent: SimulatedItem, name: str, modified: datetime.datetime | None) -> SimulatedItem:
        item = self._new(name, parent, modified)
        item.children = {}
        return self._attach(item, parent)

    def _attach(self, item: SimulatedItem, folder: SimulatedItem) -> SimulatedItem:
        siblings = self._children(folder)
        if item.name.lower() in siblings:
            raise FileExistsError(f"{folder.path}/{item.name}")
        siblings[item.name.lower()] = item
        item.parent = folder
        folder.sorted_names = None
        self._grow(folder, item.size)
        return item

    def _detach(self, item: SimulatedItem, folder: SimulatedItem) -> None:
        del self._children(folder)[item.name.lower()]
        folder.sorted_names = None
        self._grow(folder, -item.size)

    def _place(self, item: SimulatedItem, folder: SimulatedItem, name: str) -> SimulatedItem:
        origin = self._parent(item)
        taken = self._children(folder).get(name.lower())
        if taken is not None and taken is not item:
            raise FileExistsError(f"{folder.path}/{name}")
        self._detach(item, origin)
        item.name = name
        self._attach(item, folder)
        self._changed(item)
        if origin is not folder:
            self.changes.add_move(item, origin)
        return item

    def _changed(self, item: SimulatedItem, content: bool = False) -> SimulatedItem:
        now = self._clock.now()
        self.changes.add(item, now)
        item.version += 1
        item.content_version += content
        item.served_modified = self._precise(now)
        return item

    def _grow(self, folder: SimulatedItem, size: int) -> None:
        above: SimulatedItem | None = folder
        while above is not None and size:
            above.tree_bytes += size
            above = above.parent

    def _precise(self, moment: datetime.datetime) -> datetime.datetime:
        """Whole seconds on business drives, milliseconds on personal ones."""
        if moment.tzinfo is None:
            raise ValueError("a time needs its zone")
        microsecond = 0 if self.type == "business" else moment.microsecond // 1000 * 1000
        return moment.astimezone(datetime.UTC).replace(microsecond=microsecond)

    def _folder_and_name(self, path: str) -> tuple[SimulatedItem, str]:
        *above, name = _names(path)
        return self.make_folder("/".join(above)), name

    def _parent(self, item: SimulatedItem) -> SimulatedItem:
        if item.parent is None:
            raise ValueError("the root cannot be renamed, moved or deleted")
        return item.parent

    def _children(self, folder: SimulatedItem) -> dict[str, SimulatedItem]:
        if folder.children is None:
            raise NotADirectoryError(folder.path)
        return folder.children

    def _paths(self) -> list[tuple[str, SimulatedItem]]:
        with self.lock:
            return [(item.path, item) for item in self.walk(self.root) if item.parent is not None]


def _names(path: str) -> list[str]:
    return [name for name in path.split("/") if name]
