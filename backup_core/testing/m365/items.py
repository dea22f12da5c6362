"""One item of a simulated drive. It changes only through its drive, which holds the lock, the log and the rules."""

import datetime
from dataclasses import dataclass

from backup_core.testing.m365.bodies import Body
from backup_core.testing.m365.ids import made_up_guid


@dataclass(frozen=True)
class RemoteTarget:
    """What a shortcut to somebody else's drive points at."""

    drive_id: str
    item_id: str
    folder: bool = True


class SimulatedItem:
    """A live view: after a later change of the drive its attributes show the new state.

    A folder has `children` (lower-case name -> item) and a `size` that is the sum of what lies below it, a file has a
    `body`, a shortcut a `remote`. `modified` and `created` are the times that the owner's devices set (fileSystemInfo),
    UTC, in the drive's precision.
    """

    __slots__ = (
        "_guid",
        "body",
        "change",
        "children",
        "content_version",
        "created",
        "deleted",
        "id",
        "locked",
        "malware",
        "modified",
        "name",
        "package",
        "parent",
        "remote",
        "reported_quickxor",
        "reported_size",
        "served_modified",
        "sorted_names",
        "tree_bytes",
        "version",
        "with_folder",
    )

    def __init__(self, item_id: str, name: str, parent: "SimulatedItem | None", modified: datetime.datetime) -> None:
        self.id = item_id
        self.name = name
        self.parent = parent
        self.children: dict[str, SimulatedItem] | None = None
        self.sorted_names: list[str] | None = None  # of a folder's children, while they stay the same
        self.body: Body | None = None
        self.remote: RemoteTarget | None = None
        self.created = modified
        self.modified = modified
        self.served_modified = modified  # when the service saw the last change; not what a backup should keep
        self.version = 0  # counts every change, the creation too
        self.content_version = 1  # counts changes of content
        self.change = 0  # the drive's sequence number of the last change
        self.tree_bytes = 0  # of a folder: bytes of all files below it
        self.deleted = False
        self.with_folder = False  # deleted because a folder above it was
        self.malware: str | None = None
        self.locked = False
        self.package: str | None = None
        self._guid = ""
        self.reported_size: int | None = None  # what Microsoft says where it is not the truth
        self.reported_quickxor: str | None = None  # the same; "" for none

    @property
    def is_folder(self) -> bool:
        return self.children is not None

    @property
    def kind(self) -> str:
        """`folder` (a package too), `file` or `remote`."""
        if self.children is not None:
            return "folder"
        return "remote" if self.remote else "file"

    @property
    def size(self) -> int:
        """Bytes of the content; of a folder, of everything below it."""
        return self.body.size if self.body else self.tree_bytes

    @property
    def path(self) -> str:
        """From the drive's root, without a leading slash; "" is the root. Of a deleted item: where it was."""
        names = []
        item = self
        while item.parent is not None:
            names.append(item.name)
            item = item.parent
        return "/".join(reversed(names))

    @property
    def quickxor(self) -> str:
        """The true hash of the content; "" where there is no content."""
        return self.body.quickxor() if self.body else ""

    @property
    def guid(self) -> str:
        """What its eTag, cTag and download URL call it."""
        if not self._guid:
            self._guid = made_up_guid(self.id)
        return self._guid

    @property
    def etag(self) -> str:
        return f'"{{{self.guid.upper()}}},{self.version}"'

    @property
    def ctag(self) -> str:
        return f'"c:{{{self.guid.upper()}}},{self.content_version}"'

    def is_below(self, folder: "SimulatedItem") -> bool:
        """Whether `folder` is this item or one of its ancestors; asks nothing about deletion."""
        item: SimulatedItem | None = self
        while item is not None and item is not folder:
            item = item.parent
        return item is folder

    def __repr__(self) -> str:
        return f"<{self.kind} {self.path!r} {self.id}>"
