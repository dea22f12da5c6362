"""The simulated drive itself: names, ids, versions, sizes, the recycle bin."""

import datetime
import hashlib
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backup_core.testing.fake_clock import FakeClock
from backup_core.testing.m365.drive import Drive, Owner
from backup_core.testing.m365.ids import BusinessIds, PersonalIds, drive_key, with_defects

MARCH = datetime.datetime(2024, 3, 1, 8, 30, 15, 987654, tzinfo=datetime.UTC)


def new_drive(drive_type: str = "business") -> Drive:
    return Drive("seed", drive_type, Owner("id", "alex@contoso.example", "Alex"), FakeClock())


def test_a_new_file_creates_the_folders_above_it() -> None:
    """Putting a file makes its folders, and each is found by its path in any case."""
    drive = new_drive()
    item = drive.put_file("/Documents/2024/a.txt", b"hello")
    assert drive.item("documents/2024/A.TXT") is item
    assert [path for path, _ in drive.folders()] == ["Documents", "Documents/2024"]
    assert item.path == "Documents/2024/a.txt"


def test_new_content_keeps_the_id_and_moves_both_tags() -> None:
    """A replaced file stays the same item with a new eTag and a new cTag."""
    drive = new_drive()
    item = drive.put_file("a.txt", b"one")
    before = (item.id, item.etag, item.ctag)
    assert drive.put_file("A.TXT", b"three") is item
    assert (item.id, item.name, item.size) == (before[0], "a.txt", 5)
    assert item.etag != before[1] and item.ctag != before[2]


@pytest.mark.parametrize("change", ["rename", "move", "date"])
def test_a_change_of_metadata_moves_the_etag_alone(change: str) -> None:
    """Renaming, moving and re-dating leave the id, the cTag and the hash."""
    drive = new_drive()
    item = drive.put_file("a.txt", b"one")
    before, etag = (item.id, item.ctag, item.quickxor), item.etag
    if change == "rename":
        drive.rename("a.txt", "b.txt")
    elif change == "move":
        drive.move("a.txt", "/Deep/er")
    else:
        drive.set_modified("a.txt", MARCH - datetime.timedelta(days=1))
    assert (item.id, item.ctag, item.quickxor) == before
    assert item.etag != etag


def test_a_name_is_taken_whatever_its_case() -> None:
    """Two siblings cannot differ by case alone, but an item may change the case of its own name."""
    drive = new_drive()
    drive.put_file("a.txt", b"1")
    drive.put_file("b.txt", b"2")
    with pytest.raises(FileExistsError):
        drive.rename("b.txt", "A.TXT")
    with pytest.raises(FileExistsError):
        drive.add_remote_item("A.TXT")
    assert drive.rename("a.txt", "A.txt").name == "A.txt"
    assert drive.changes.last == 4  # root, two files, one rename: what failed left no trace


def test_sizes_of_folders_add_up() -> None:
    """A folder's size is what lies below it, through every kind of change."""
    drive = new_drive()
    drive.put_file("a/b/one", b"12345")
    drive.put_file("a/two", b"123")
    drive.put_file("a/two", b"1")
    drive.move("a/two", "c")
    gone = drive.delete("a/b")
    assert (drive.item("a").size, drive.item("c").size, drive.root.size) == (0, 1, 1)
    drive.restore(gone)
    assert (drive.item("a").size, drive.root.size) == (5, 6)


def test_the_recycle_bin_gives_back_the_same_items() -> None:
    """A restored folder brings everything below it back under the old ids; what was deleted before stays away."""
    drive = new_drive()
    kept, lost = drive.put_file("a/kept", b"1"), drive.put_file("a/lost", b"2")
    drive.delete("a/lost")
    folder = drive.delete("a")
    assert drive.by_id(kept.id) is None and drive.files() == []
    drive.restore(folder)
    assert drive.by_id(kept.id) is kept and drive.by_id(lost.id) is None
    with pytest.raises(FileNotFoundError):
        drive.restore(folder)


def test_the_same_name_again_is_another_item() -> None:
    """Deleting and creating a name gives a new id, and the old item cannot take its place back."""
    drive = new_drive()
    first = drive.put_file("a", b"1")
    drive.delete("a")
    second = drive.put_file("a", b"2")
    assert second.id != first.id
    with pytest.raises(FileExistsError):
        drive.restore(first)


def test_a_folder_cannot_move_into_itself() -> None:
    """A move below the moved folder is refused before anything changes."""
    drive = new_drive()
    drive.make_folder("a/b")
    with pytest.raises(ValueError, match="inside"):
        drive.move("a", "a/b")
    assert drive.item("a/b").path == "a/b"


def test_the_root_stays() -> None:
    """The root can be neither renamed nor deleted."""
    drive = new_drive()
    with pytest.raises(ValueError, match="root"):
        drive.delete("/")
    with pytest.raises(ValueError, match="root"):
        drive.rename("", "other")


@pytest.mark.parametrize(("drive_type", "microsecond"), [("business", 0), ("personal", 987000)])
def test_times_have_the_precision_of_the_service(drive_type: str, microsecond: int) -> None:
    """Business keeps whole seconds, personal milliseconds."""
    item = new_drive(drive_type).put_file("a", b"", modified=MARCH)
    assert item.modified == MARCH.replace(microsecond=microsecond)


def test_a_snapshot_says_what_a_restore_must_bring_back() -> None:
    """Every file with its digest and time, every folder, no shortcut."""
    drive = new_drive()
    drive.put_file("a/b.txt", b"hello", modified=MARCH)
    drive.make_package("Notes")
    drive.add_remote_item("Shared")
    snapshot = drive.snapshot()
    assert list(snapshot) == ["a", "a/b.txt", "Notes"]
    assert snapshot["a/b.txt"] == ("file", 5, hashlib.sha256(b"hello").hexdigest(), MARCH.replace(microsecond=0))
    assert snapshot["a"].kind == snapshot["Notes"].kind == "folder"


def test_filling_is_deterministic_and_spread() -> None:
    """Two drives of one seed hold the same files, each with its own content."""
    first, second = new_drive(), new_drive()
    first.fill(200, folders=7, seed=3)
    second.fill(200, folders=7, seed=3)
    assert first.snapshot() == second.snapshot()
    digests = {entry.digest for entry in first.snapshot().values() if entry.kind == "file"}
    assert (len(first.folders()), len(first.files()), len(digests)) == (7, 200, 200)


def test_ids_have_the_shapes_of_the_service() -> None:
    """34 characters beginning with 01 and a known root in business, DRIVE!s… in personal drives; the seed decides."""
    business, again, personal = BusinessIds("a"), BusinessIds("a"), PersonalIds("a")
    assert business.drive.startswith("b!") and len(business.drive) == 66
    assert business.item(5) == again.item(5) != BusinessIds("b").item(5)
    assert {len(business.item(n)) for n in range(50)} == {34} == {len(business.root)}
    assert business.root.endswith("Y2GOVW7725BZO354PWSELRRZ")
    assert len(personal.drive) == 16 and personal.drive[0] == "0" and personal.drive == personal.drive.lower()
    assert personal.item(1).startswith(personal.drive.upper() + "!s")


def test_defective_personal_ids_still_name_the_same() -> None:
    """A lost zero and a changed case are the same drive and item; of business ids every letter counts."""
    ids = PersonalIds("a")
    for turn in (1, 2):
        assert with_defects(ids.drive, turn) != ids.drive
        assert drive_key(with_defects(ids.drive, turn)) == drive_key(ids.drive)
        assert ids.key(with_defects(ids.item(3), turn)) == ids.key(ids.item(3))
    assert with_defects(ids.drive, 1) != with_defects(ids.drive, 2)
    assert drive_key("b!AA") != drive_key("b!aa")


def test_many_threads_may_change_one_drive() -> None:
    """Changes from several threads are all there, each with a number of its own."""
    drive = new_drive()

    def work(number: int) -> None:
        for n in range(50):
            drive.put_file(f"shared/{number}-{n}", b"x" * n)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    changes = [item.change for _, item in drive.files()]
    assert len(set(changes)) == 200
    assert drive.root.size == 4 * sum(range(50))


@given(st.lists(st.tuples(st.sampled_from("pmdrn"), st.integers(0, 5), st.integers(0, 5)), max_size=40))
def test_the_books_agree_after_any_history(history: list[tuple[str, int, int]]) -> None:
    """Whatever happened: sizes add up, every live item is found by path and id, the log holds each item once."""
    drive = new_drive()
    bin_ = []
    for verb, one, other in history:
        try:
            if verb == "p":
                drive.put_file(f"d{one}/f{other}", b"x" * other)
            elif verb == "m":
                drive.move(f"d{one}", f"d{other}")
            elif verb == "d":
                bin_.append(drive.delete(f"d{one}"))
            elif verb == "r" and bin_:
                drive.restore(bin_.pop())
            else:
                drive.rename(f"d{one}", f"d{other}")
        except (FileNotFoundError, FileExistsError, ValueError):
            pass
    live = [item for item in drive.walk(drive.root) if item is not drive.root]
    assert drive.root.size == sum(item.size for item in live if item.body)
    assert all(drive.item(item.path) is item and drive.by_id(item.id) is item for item in live)
    logged = drive.changes.after(0)
    assert len(logged) == len({item.id for item in logged})
    assert [item.change for item in logged] == sorted(item.change for item in logged)
    assert set(live) <= set(logged)
