"""Somebody who works with a drive, at random but the same way each time: what generated histories are made of."""

import datetime
import random

from backup_core.testing.m365.drive import Drive
from backup_core.testing.m365.items import SimulatedItem

NAMES = ["a", "b", "c.txt", "D", "é", "x y", "#%?&", "日本"]
SIZES = [0, 1, 10, 5_000, 700_000]
_EPOCH = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)


class Person:
    """Changes a drive at random, as a person might within a day."""

    def __init__(self, drive: Drive, seed: int) -> None:
        self.drive, self.random = drive, random.Random(seed)
        self.deleted: list[SimulatedItem] = []

    def act(self) -> None:
        """One change; now and then none, where there is nothing to change."""
        actions = {
            self.write: 6,
            self.edit: 5,
            self.make: 3,
            self.rename: 4,
            self.move: 5,
            self.delete: 3,
            self.swap: 3,
            self.recreate: 2,
            self.undelete: 2,
            self.copy: 1,
            self.redate: 1,
            self.recase: 1,
        }
        self.random.choices(list(actions), list(actions.values()))[0]()

    def write(self) -> None:
        if path := self._free(self._folder()):
            self.drive.put_file(path, self._content())

    def edit(self) -> None:
        if files := self.drive.files():
            self.drive.put_file(self.random.choice(files)[0], self._content())

    def copy(self) -> None:
        """The same content under another id."""
        files, path = self.drive.files(), self._free(self._folder())
        if files and path and (body := self.random.choice(files)[1].body):
            self.drive.put_file(path, body)

    def make(self) -> None:
        if path := self._free(self._folder()):
            self.drive.make_folder(path)

    def rename(self) -> None:
        path = self._any_path()
        if path and (new := self._free(path.rpartition("/")[0])):
            self.drive.rename(path, new.rpartition("/")[2])

    def recase(self) -> None:
        if path := self._any_path():
            self.drive.rename(path, path.rpartition("/")[2].swapcase())

    def redate(self) -> None:
        if path := self._any_path():
            self.drive.set_modified(path, _EPOCH + datetime.timedelta(hours=self.random.randrange(50_000)))

    def move(self) -> None:
        path, folder = self._any_path(), self._folder()
        if not path or f"{folder}/".lower().startswith(f"{path}/".lower()):
            return
        if path.rpartition("/")[2].lower() not in self._taken(folder):
            self.drive.move(path, folder)

    def delete(self) -> None:
        if path := self._any_path():
            self.deleted.append(self.drive.delete(path))

    def undelete(self) -> None:
        """From the recycle bin, unless another item has the name by now, or the folder is gone."""
        if not self.deleted:
            return
        item = self.deleted.pop(self.random.randrange(len(self.deleted)))
        if item.deleted and item.parent and not item.parent.deleted and item.name.lower() not in item.parent.children:
            self.drive.restore(item)

    def swap(self) -> None:
        """Two items of one folder, files or folders, take each other's name."""
        folder = self._folder()
        names = [item.name for item in (self.drive.item(folder).children or {}).values()]
        if len(names) < 2:
            return
        one, other = self.random.sample(names, 2)
        self.drive.rename(f"{folder}/{one}", "between")
        self.drive.rename(f"{folder}/{other}", one)
        self.drive.rename(f"{folder}/between", other)

    def recreate(self) -> None:
        """A new file where something was."""
        if path := self._any_path():
            self.drive.delete(path)
            self.drive.put_file(path, self._content())

    def _folder(self) -> str:
        return self.random.choice(["", *(path for path, _ in self.drive.folders())])

    def _any_path(self) -> str | None:
        paths = [path for path, _ in [*self.drive.files(), *self.drive.folders()]]
        return self.random.choice(paths) if paths else None

    def _content(self) -> bytes:
        return self.random.randbytes(self.random.choice(SIZES))

    def _taken(self, folder: str) -> set[str]:
        return set(self.drive.item(folder).children or ())

    def _free(self, folder: str) -> str | None:
        names = [name for name in NAMES if name.lower() not in self._taken(folder)]
        return f"{folder}/{self.random.choice(names)}" if names else None
