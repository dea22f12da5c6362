"""A drive that does not want to be backed up: names that no file system takes, times of other centuries, deep folders.

It says itself under which names all of it must come back, so that nobody has to ask the product.
"""

import datetime
import hashlib
import random
from collections.abc import Iterator

from xxhash import xxh3_128_digest

from backup_core.testing.m365.bodies import sha256
from backup_core.testing.m365.drive import Drive, Entry
from backup_core.testing.m365.items import SimulatedItem

LEVELS = 60
LARGE_BYTES = 64 << 20
UTC = datetime.UTC


def _cut(name: str, stem_bytes: int, end: str) -> str:
    """A name of more than 255 bytes: its beginning, eight digits of its hash, its extension."""
    stem = name.encode()[:stem_bytes].decode(errors="ignore")
    return f"{stem}~{hashlib.sha256(name.encode()).hexdigest()[:8]}{end}"


_LONG, _WIDE = "n" * 300 + ".docx", "日" * 200 + ".txt"
# The name in the drive, and the name in a folder of this machine. Of the others the two are the same.
RENAMED = {
    ".": "_",
    "..": "__",
    "../../../etc/passwd": ".._.._.._etc_passwd",
    "/": "_",
    "slash/in name": "slash_in name",
    "nul\0byte": "nul_byte",
    _LONG: _cut(_LONG, 255 - 9 - 5, ".docx"),
    _WIDE: _cut(_WIDE, 255 - 9 - 4, ".txt"),
}
SAME = [
    " leading and trailing ",
    "dots...",
    "...",
    "-rf *",
    "~",
    "$(touch owned)",
    "`id`;&|<>'\"",
    "back\\slash\\name",
    "a\nnew line\tand a tab\r",
    "bell\x07 escape\x1b[31m delete\x7f",
    "\u202egnp.exe",
    "zero\u200bwidth\ufeff",
    "nfc é",
    "nfd e\u0301",
    "日本語 テスト",
    "עברית العربية",
    "emoji 🎉👩‍👩‍👧‍👦",
    "𝕬stral 𐍈",
    "\ufffd replacement",
    "#%25?&+=:*",
    "CON",
    "desktop.ini",
    "config",
    "user.drivekeep.id",
    "n" * 255,
    "é" * 127,
]
_MOMENTS = [
    datetime.datetime(1970, 1, 1, tzinfo=UTC),
    datetime.datetime(1969, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC),
    datetime.datetime(1904, 2, 29, 1, 2, 3, 456_000, tzinfo=UTC),
    datetime.datetime(2038, 1, 19, 3, 14, 8, tzinfo=UTC),
    datetime.datetime(2200, 12, 31, 23, 59, 59, 123_000, tzinfo=UTC),
    datetime.datetime(2026, 3, 29, 1, 30, 0, 7_000, tzinfo=UTC),
]
_SIZES = [0, 1, 2, 511, 4096, 524_287, 524_288, 524_289, 1_500_000]


def _stored_id(item_id: str) -> str:
    """Ids of personal drives are kept in lower case."""
    return item_id.lower() if "!" in item_id else item_id


class HostileDrive:
    """Fills a drive with 300 files, a large one among them; `expected` is what a restore of now must bring."""

    def __init__(self, drive: Drive, seed: int = 4, large_bytes: int = LARGE_BYTES) -> None:
        self.drive, self._random = drive, random.Random(seed)
        self._stored: dict[str, str] = {}  # item id -> name in a folder of this machine, where that is another one
        self._deep()
        self._names()
        self._sizes_and_times()
        self._empty_folders()
        self.drive.put_synthetic("/large/64 MiB of noise.bin", large_bytes, seed)
        self.drive.put_file("/large/zeros.bin", bytes(3 << 20))
        missing = 300 - len(self.drive.files())
        for number in range(missing):
            self.drive.put_file(f"/many/{number % 5}/file {number}.txt", self._content(200 + number))

    def expected(self) -> dict[str, Entry]:
        """As `Drive.snapshot()`, by the path in a folder of this machine."""
        found: dict[str, Entry] = {}
        waiting = [("", self.drive.root)]
        while waiting:
            above, folder = waiting.pop()
            for name, item in self._listing(folder):
                content = item.body
                digest = sha256(content) if content else ""
                found[above + name] = Entry(item.kind, content.size if content else 0, digest, item.modified)
                if item.is_folder:
                    waiting.append((f"{above}{name}/", item))
        return found

    def _listing(self, folder: SimulatedItem) -> Iterator[tuple[str, SimulatedItem]]:
        """A folder's items with their names in a folder of this machine. Of several that would have one name, the item
        whose id has the lowest hash has it; each other one bears its id.
        """
        taken: set[str] = set()
        for item in sorted(
            (folder.children or {}).values(), key=lambda each: xxh3_128_digest(_stored_id(each.id).encode())
        ):
            name = self._stored.get(item.id, item.name)
            yield (f"{name} ({_stored_id(item.id)})" if name in taken else name), item
            taken.add(name)

    def _content(self, size: int) -> bytes:
        return self._random.randbytes(size)

    def _deep(self) -> None:
        path = "/deep"
        for level in range(LEVELS):
            path += f"/Ebene {level:02} ü"
            self.drive.put_file(f"{path}/in {level}.txt", self._content(10 + level), _MOMENTS[level % len(_MOMENTS)])

    def _names(self) -> None:
        """Each name once as a file, once as a folder with a file in it."""
        self.drive.put_file("/files/_", b"the name that a slash would become")
        self.drive.put_file("/folders/_/inside", b"the same")
        for number, name in enumerate([*SAME, *RENAMED]):
            stored = RENAMED.get(name, name)
            for kind in ("files", "folders"):
                place = f"/{kind}/made {number}"
                if kind == "files":
                    item = self.drive.put_file(place, self._content(20 + number))
                else:
                    self.drive.put_file(f"{place}/inside", self._content(30 + number))
                    item = self.drive.item(place)
                self.drive.rename(place, name)
                self._stored[item.id] = stored

    def _sizes_and_times(self) -> None:
        for number, size in enumerate(_SIZES):
            for copy, content in enumerate((self._content(size), b"abc" * size)):
                self.drive.put_file(f"/sizes/{number}-{copy}.bin", content[:size], _MOMENTS[number % len(_MOMENTS)])
        for number, moment in enumerate(_MOMENTS):
            self.drive.make_folder(f"/times/{number}", moment)

    def _empty_folders(self) -> None:
        self.drive.make_folder("/empty")
        self.drive.make_folder("/nests/of/nothing/at all")
        self.drive.make_folder("/nests/of/ ")
