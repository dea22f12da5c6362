"""Files that are fetched in parts: too large for one batch, or cut in two by a deadline."""

import hashlib
import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.world import World, world

from backup_core.backup import batches, parts
from backup_core.backup.batches import Until, cut_batches, is_whole, save_batch
from backup_core.backup.commit import commit_snapshot
from backup_core.backup.feed import plan_changes
from backup_core.backup.job import BackupJob, Summary
from backup_core.backup.parts import Parts
from backup_core.backup.progress import NoProgress
from backup_core.backup.run import Run
from backup_core.backup.run_log import Range, SavedPart
from backup_core.graph.drives import user_drive
from backup_core.graph.items import DriveItem
from backup_core.graph.quickxorhash import QuickXorHash
from backup_core.testing.m365 import Status

MIB = 1 << 20


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of 1 MiB, so that files of some megabytes are large."""
    monkeypatch.setattr(parts, "PART_BYTES", MIB)
    monkeypatch.setattr(batches, "PART_BYTES", MIB)


def content(size: int, seed: int = 1) -> bytes:
    return b"".join(hashlib.sha256(f"{seed} {n}".encode()).digest() for n in range(size // 32 + 1))[:size]


def steps(here: World, until: Until | None = None, rounds: int = 20) -> Summary:
    """A whole run, every step in what might be a process of its own, as a durable orchestration does it."""

    def step(act: Any) -> Any:
        components = here.components()
        job = BackupJob(drive=user_drive(components.graph, here.m365.users[0].upn), threads=2)
        with Run.begin(components, job) as run:
            return act(run)

    step(lambda run: plan_changes(run, NoProgress()))
    for _ in range(rounds):
        for number in step(cut_batches).batches:
            step(lambda run, number=number: save_batch(run, number, 2, NoProgress(), until and until_now(run, until)))
        summary = step(lambda run: commit_snapshot(run, NoProgress()))
        if summary is not None:
            return summary
    raise AssertionError("the run does not end")


def until_now(run: Run, until: Until) -> Until:
    return Until(run.clock.monotonic() + until.deadline, until.throttled)


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("size", [MIB, MIB + 1, 2 * MIB, 5 * MIB + 77])
def test_large_file_in_parts_is_the_file(size: int) -> None:
    """However the file's size lies to the borders of parts, what is stored is what was delivered, and verified."""
    with world() as here:
        here.drive.put_file("/large.bin", content(size))
        here.drive.put_file("/small.txt", b"small")
        summary = steps(here)
        here.assert_same(summary)
        assert summary.complete
        assert summary.bytes_downloaded == size + 5


@pytest.mark.usefixtures("small_parts")
def test_command_line_fetches_parts_too() -> None:
    """The runner of the command line saves the same batches, and a second run has nothing to fetch."""
    with world() as here:
        here.drive.put_file("/large.bin", content(3 * MIB + 5))
        here.assert_same(here.back_up())
        assert here.back_up().bytes_downloaded == 0


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("change", [+9, -9, -2 * MIB])
def test_size_that_microsoft_reports_wrongly(change: int) -> None:
    """What is delivered counts, also where it is shorter or longer than reported: kept, with its verdict."""
    with world() as here:
        item = here.drive.put_file("/large.bin", content(3 * MIB))
        item.reported_size = 3 * MIB + change
        summary = steps(here)
        assert [each.reason for each in summary.items_failed] == ["size-mismatch"]
        assert summary.snapshot_id is not None
        (found,) = here.contents(summary.snapshot_id).values()
        assert found[1] == hashlib.sha256(content(3 * MIB)).hexdigest()


@pytest.mark.usefixtures("small_parts")
def test_part_that_fails_fails_its_file_alone() -> None:
    """A part that cannot be had makes the file wait on the retry list; the rest of the drive is saved."""
    with world() as here:
        here.drive.put_file("/large.bin", content(3 * MIB))
        here.drive.put_file("/small.txt", b"small")
        here.m365.faults.add(match=r"GET content", nth=2, times=1, fault=Status(423))
        summary = steps(here)
        assert [(each.path, each.reason) for each in summary.items_failed] == [("large.bin", "locked")]
        second = steps(here)
        here.assert_same(second)
        assert second.complete


@pytest.mark.usefixtures("small_parts")
def test_parts_of_two_versions_are_never_joined() -> None:
    """A file that changes between its parts is read again as a whole."""
    with world() as here:
        here.drive.put_file("/large.bin", content(3 * MIB, seed=1))
        components = here.components()
        job = BackupJob(drive=user_drive(components.graph, here.m365.users[0].upn))
        with Run.begin(components, job) as run:
            plan_changes(run, NoProgress())
            first, second, third = cut_batches(run).batches
            save_batch(run, first, 1, NoProgress())
            here.drive.put_file("/large.bin", content(3 * MIB, seed=2))
            save_batch(run, second, 1, NoProgress())
            save_batch(run, third, 1, NoProgress())
            assert commit_snapshot(run, NoProgress()) is None
            for number in cut_batches(run).batches:
                save_batch(run, number, 1, NoProgress())
            summary = commit_snapshot(run, NoProgress())
        assert summary is not None
        here.assert_same(summary)


def test_deadline_hands_back_the_rest() -> None:
    """A batch whose time is up keeps what has come, also of the file in its hands; later rounds fetch the rest."""
    with world() as here:
        for number in range(6):
            here.drive.put_file(f"/{number}.bin", content(2 * MIB, seed=number))
        components = here.components()
        job = BackupJob(drive=user_drive(components.graph, here.m365.users[0].upn))
        clock = here.clock
        with Run.begin(components, job) as run:
            plan_changes(run, NoProgress())
            (number,) = cut_batches(run).batches
            ticks = itertools.count()
            moments = [clock.monotonic()] * 9 + [clock.monotonic() + 1000]

            class Hurried:
                def monotonic(self) -> float:
                    return moments[min(next(ticks), 9)]

                def __getattr__(self, name: str) -> Any:
                    return getattr(clock, name)

            run.clock = Hurried()
            saved = save_batch(run, number, 1, NoProgress(), Until(clock.monotonic() + 500))
            batch = run.log.batch(number)
            assert not is_whole(batch, saved)
            assert len(saved.parts) == 1
            assert saved.parts[0].length > 0
        summary = steps(here)
        here.assert_same(summary)
        assert summary.complete


def test_long_throttling_ends_the_batch_and_fails_nothing() -> None:
    """Where the batch may hand back, a pause that is too long for it leaves the files for later."""
    with world() as here:
        here.drive.put_file("/a.txt", b"a")
        components = here.components(patience=1)
        here.m365.faults.add(match=r"GET content", nth=1, times=1, fault=Status(429, headers={"Retry-After": "30"}))
        job = BackupJob(drive=user_drive(components.graph, here.m365.users[0].upn))
        with Run.begin(components, job) as run:
            plan_changes(run, NoProgress())
            (number,) = cut_batches(run).batches
            saved = save_batch(run, number, 1, NoProgress(), Until(throttled=True))
            assert (saved.files, saved.parts) == ([], [])
        summary = steps(here)
        here.assert_same(summary)


@given(st.lists(st.integers(0, 400), max_size=6), st.integers(1, 400), st.data())
def test_any_parts_lead_to_the_whole(cuts: list[int], size: int, data: st.DataObject) -> None:
    """Whatever parts are there, overlapping, doubled, out of order: fetching what is missing completes the file."""
    whole = content(size)
    item = DriveItem("1", kind="file", size=size, quickxor=hashed(whole))
    found = Parts(lambda chunks: True)
    for start in cuts:
        if start < size:
            stop = data.draw(st.integers(start, size))
            found.add([part_of(whole, item, Range(1, start, stop), at_end=stop == size and data.draw(st.booleans()))])
    for missing in found.missing(item):
        found.add([part_of(whole, item, missing)])
    file = found.file(item)
    assert file is not None
    assert (file.verdict, b"".join(file.content)) == ("verified", whole)


def test_lost_part_is_fetched_again() -> None:
    """A part whose chunks are not stored any more counts as missing, the others stay."""
    whole = content(300)
    item = DriveItem("1", kind="file", size=300, quickxor=hashed(whole))
    lost = whole[100:200]
    found = Parts(lambda chunks: lost not in chunks)
    found.add([part_of(whole, item, Range(1, start, start + 100), start == 200) for start in (0, 100, 200)])
    assert found.file(item) is None
    assert found.missing(item) == [Range(1, 100, 200)]


def hashed(data: bytes) -> str:
    made = QuickXorHash()
    made.update(data)
    return made.base64()


def part_of(whole: bytes, item: DriveItem, wanted: Range, at_end: bool = False) -> SavedPart:
    data = whole[wanted.start : wanted.stop]
    made = QuickXorHash()
    made.update(data)
    return SavedPart(
        item, item, wanted.attempt, wanted.start, len(data), at_end or wanted.stop is None, [data], made.row
    )
