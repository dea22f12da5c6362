"""The paged map: a dict that lies in a store, whose cost follows what is asked, and which believes no stranger."""

import hashlib
import random
import struct
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backup_core.drive_state import paged_map, segments
from backup_core.drive_state.paged_map import PagedMap, SavedMap
from backup_core.drive_state.segments import LeafPlace, Segments, StateDamaged
from backup_core.drive_state.sorted_parts import SortedParts
from backup_core.repository.crypto import Keys
from backup_core.repository.layout import SEGMENTS
from backup_core.storage.memory import MemoryStore
from backup_core.storage.metered import MeteredStore
from backup_core.storage.store import Store

KEYS = Keys(b"e" * 32, b"k" * 16, b"r" * 16)


@contextmanager
def shrunk() -> Iterator[None]:
    """Sizes at which a few hundred records split leaves, leave some waiting and fill segments."""
    small = {"LEAF_BYTES": 640, "FRESH_LEAF_BYTES": 480, "PENDING_RECORDS": 16, "LEAVES_KEPT": 5, "LEAVES_AT_ONCE": 3}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in small.items():
            patch.setattr(paged_map, name, value)
        patch.setattr(segments, "SEGMENT_BYTES", 4000)
        patch.setattr(segments, "GAP_BYTES", 700)
        patch.setattr(segments, "RANGE_BYTES", 3000)
        yield


def key_of(number: int) -> bytes:
    return hashlib.sha256(str(number).encode()).digest()[:16]


def value_of(number: int) -> bytes:
    return struct.pack("<4I", number, 1, 2, 3)


class Stored:
    """A map of 16 + 16 bytes and what lies in the store of it, as a head would keep it."""

    def __init__(self, store: Store | None = None) -> None:
        self.store = store or MemoryStore()
        self.saved, self.ids = SavedMap(), list[bytes]()

    def load(self, pool: ThreadPoolExecutor | None = None, label: bytes = b"item") -> PagedMap:
        self.segments = Segments(self.store, KEYS, self.ids, pool)
        return PagedMap(label, 16, 16, self.segments, self.saved)

    def save(self, each: PagedMap) -> None:
        each.merge_pending()
        self.segments.close()
        used = sorted(each.segments_used())
        self.saved = each.saved({old: new for new, old in enumerate(used)})
        self.ids = [self.segments.ids[number] for number in used]

    def filled(self, count: int) -> "Stored":
        parts = SortedParts(16, 16)
        for number in range(count):
            parts.put(key_of(number), value_of(number))
        each = self.load()
        each.rebuild(parts)
        self.save(each)
        return self

    def leaves(self) -> list[LeafPlace]:
        numbers = struct.unpack(f"<{len(self.saved.places) // 4}I", self.saved.places)
        return [LeafPlace(*numbers[at : at + 3]) for at in range(0, len(numbers), 3)]

    def replace(self, name: str, data: bytes | None) -> None:
        self.store.delete(name)
        if data is not None:
            self.store.put_new(name, data)

    def segment_names(self) -> list[str]:
        return [each.name for each in self.store.list(SEGMENTS)]


# Keys that share their first eight bytes must stay in one leaf, so some do.
SOME_KEYS = st.one_of(st.integers(0, 400).map(key_of), st.integers(0, 40).map(lambda n: b"\x80" * 8 + key_of(n)[:8]))
ROUNDS = st.lists(
    st.tuples(st.dictionaries(SOME_KEYS, st.integers(0, 9).map(value_of), max_size=120), st.sampled_from("srn")),
    max_size=6,
)


@given(ROUNDS, st.lists(SOME_KEYS, max_size=30))
def test_a_map_is_a_dict(rounds, others) -> None:
    """After any puts, merges, rebuilds, saving and loading, every key has its last value, and no other key has one."""
    stored, model = Stored(), dict[bytes, bytes]()
    with shrunk():
        each = stored.load()
        for changes, step in rounds:
            for key, value in changes.items():
                each.put(key, value)
            model |= changes
            if step == "s":
                stored.save(each)
                each = stored.load()
            elif step == "r":
                parts = SortedParts(16, 16)
                for key in model:
                    parts.put(key, value_of(99))
                    parts.put(key, model[key])
                each.rebuild(parts)
            assert each.get_many([*model, *others]) == model
            assert each.get_many(others) == {key: model[key] for key in others if key in model}
        for name in stored.segment_names():
            assert stored.store.size(name) < 4000 + 640 + 52


def test_leaves_split_and_stay_within_their_size() -> None:
    """Many puts lead to many leaves, none above the limit, and to few records waiting in the head."""
    stored = Stored()
    with shrunk():
        for start in range(0, 1000, 100):
            each = stored.load()
            for number in range(start, start + 100):
                each.put(key_of(number), value_of(number))
            stored.save(each)
        places = stored.leaves()
        assert len(places) > 40
        assert max(place.length for place in places) <= 640 + 52
        assert len(stored.saved.pending) <= 16 * 32
        assert len(stored.load().get_many(map(key_of, range(1000)))) == 1000


def test_a_merge_rewrites_the_fullest_leaves_and_no_more_than_it_must() -> None:
    """Where twelve records wait in one leaf and one each in many others, that one leaf is enough."""
    with shrunk():
        stored = Stored().filled(600)
        before = set(stored.leaves())
        each = stored.load()
        lowest = sorted(map(key_of, range(600)))[0]
        crowded = [lowest[:8] + bytes([number]) * 8 for number in range(12)]
        spread = [key for key in map(key_of, range(30_000, 30_100)) if key[0] > 0x20][:14]
        for key in spread + crowded:
            each.put(key, value_of(1))
        stored.save(each)
        assert len(before - set(stored.leaves())) == 1
        assert [each.waiting(key) for key in spread + crowded] == [True] * 14 + [False] * 12
        assert stored.load().get_many(spread + crowded) == dict.fromkeys(spread + crowded, value_of(1))


def test_what_waits_is_stored_in_order() -> None:
    """The same changes make the same head, in whatever order they came."""
    roots = set()
    for numbers in (range(10), range(9, -1, -1)):
        each = Stored().load()
        for number in numbers:
            each.put(key_of(number), value_of(number))
        roots.add(each.saved().pending)
    assert roots == {b"".join(key + value for key, value in sorted((key_of(n), value_of(n)) for n in range(10)))}


def test_few_changes_read_and_write_no_leaf() -> None:
    """Below the limit, changes wait in the head."""
    store = MeteredStore(MemoryStore())
    stored = Stored(store).filled(100)
    before = store.requests
    each = stored.load()
    each.put(key_of(5), value_of(6))
    stored.save(each)
    assert store.requests == before
    assert each.waiting(key_of(5))
    assert not each.waiting(key_of(6))
    assert stored.load().get_many([key_of(5), key_of(6)]) == {key_of(5): value_of(6), key_of(6): value_of(6)}


def test_a_rebuild_forgets_what_is_not_given_to_it() -> None:
    """Records are never removed but by a rebuild."""
    with shrunk():
        stored = Stored().filled(300)
        each = stored.load()
        each.put(key_of(1000), value_of(1))
        parts = SortedParts(16, 16)
        parts.put(key_of(7), value_of(7))
        each.rebuild(parts)
        assert each.get_many(map(key_of, [*range(300), 1000])) == {key_of(7): value_of(7)}
        each.rebuild(SortedParts(16, 16))
        assert each.get_many(map(key_of, range(300))) == {}
        stored.save(each)
        assert stored.ids == []


def test_the_stored_form_is_what_the_description_says() -> None:
    """Little-endian tables in the head; a leaf begins with label, segment and lower bound, then sorted records."""
    with shrunk():
        stored = Stored().filled(40)
    starts = struct.unpack(f"<{len(stored.saved.starts) // 8}Q", stored.saved.starts)
    keys = sorted(map(key_of, range(40)))
    assert len(stored.ids) == 1
    assert len(starts) == len(stored.leaves()) > 1
    assert starts[0] == 0
    data = stored.store.get(SEGMENTS + stored.ids[0].hex())
    seen = []
    for start, place in zip(starts, stored.leaves(), strict=True):
        plain = KEYS.open(data[place.offset : place.offset + place.length])
        assert plain[:20] == b"item" + stored.ids[0] + struct.pack(">Q", start)
        records = plain[20:]
        assert start == 0 or records[:8] == struct.pack(">Q", start)
        seen += [records[at : at + 16] for at in range(0, len(records), 32)]
    assert seen == keys
    assert place.offset + place.length == len(data)


def test_near_leaves_are_read_in_one_request_and_only_once() -> None:
    """Requests cost more than gaps; what was read stays in memory."""
    store = MeteredStore(MemoryStore())
    stored = Stored(store).filled(2000)
    each = stored.load()
    before = store.requests
    assert len(each.get_many(map(key_of, range(2000)))) == 2000
    assert store.requests == before + 1
    assert len(each.get_many(map(key_of, range(2000)))) == 2000
    assert store.requests == before + 1


def test_memory_is_bounded_by_the_leaves_that_are_kept() -> None:
    """A map far larger than memory can be asked through; what was read long ago is read again."""
    with shrunk():
        store = MeteredStore(MemoryStore())
        stored = Stored(store).filled(600)
        each = stored.load()
        keys = sorted(map(key_of, range(600)))
        for key in keys:
            each.get_many([key])
        before = store.requests
        each.get_many([keys[-1]])
        assert store.requests == before
        each.get_many([keys[0]])
        assert store.requests == before + 1


def test_no_request_is_longer_than_the_limit() -> None:
    """Neighbours are joined only so far: what is read at once must fit into memory, many times over."""
    lengths = []

    class Watched(MemoryStore):
        def get_range(self, name: str, offset: int, length: int) -> bytes:
            lengths.append(length)
            return super().get_range(name, offset, length)

    with shrunk():
        stored = Stored(Watched()).filled(600)
        assert len(stored.load().get_many(map(key_of, range(600)))) == 600
    assert 3000 - 640 - 52 < max(lengths) <= 3000


def test_ranges_of_one_call_are_read_at_the_same_time() -> None:
    """With a pool, a lookup far apart waits once for the store, not once per leaf."""
    meeting = threading.Barrier(2, timeout=20)

    class Slow(MemoryStore):
        def get_range(self, name: str, offset: int, length: int) -> bytes:
            meeting.wait()
            return super().get_range(name, offset, length)

    with shrunk(), ThreadPoolExecutor(2) as pool:
        stored = Stored(Slow()).filled(600)
        ends = sorted(map(key_of, range(600)))
        assert len(stored.load(pool).get_many([ends[0], ends[-1]])) == 2


def test_threads_may_ask_while_others_put() -> None:
    """Downloads ask what is stored while batches add to it."""
    with shrunk(), ThreadPoolExecutor(6) as pool:
        stored = Stored().filled(500)
        each = stored.load()

        def work(seed: int) -> None:
            chosen = random.Random(seed)
            for number in range(1000 + seed * 50, 1050 + seed * 50):
                each.put(key_of(number), value_of(number))
                some = [chosen.randrange(500) for _ in range(5)]
                assert each.get_many(map(key_of, [*some, number])) == {key_of(n): value_of(n) for n in [*some, number]}

        for job in [pool.submit(work, seed) for seed in range(6)]:
            job.result()
        stored.save(each)
        assert len(stored.load().get_many(map(key_of, range(1000, 1300)))) == 300


def test_the_lock_is_not_held_while_the_store_is_waited_for() -> None:
    """A thread whose answer is in memory does not wait for another's read."""
    reading, answered = threading.Event(), threading.Event()

    class Slow(MemoryStore):
        def get_range(self, name: str, offset: int, length: int) -> bytes:
            reading.set()
            assert answered.wait(20)
            return super().get_range(name, offset, length)

    stored = Stored(Slow()).filled(10)
    each = stored.load()
    with ThreadPoolExecutor(1) as pool:
        job = pool.submit(each.get_many, [key_of(1)])
        assert reading.wait(20)
        each.put(key_of(50), value_of(50))
        assert each.get_many([key_of(50)]) == {key_of(50): value_of(50)}
        answered.set()
        assert job.result() == {key_of(1): value_of(1)}


# -- what is not what was written ------------------------------------------------------------------------------------


def first_leaf(stored: Stored) -> tuple[bytes, str, bytes, LeafPlace, LeafPlace]:
    """A key of the first leaf, and its segment, with the places of the first two leaves."""
    name = stored.segment_names()[0]
    one, two = stored.leaves()[:2]
    return min(map(key_of, range(60))), name, stored.store.get(name), one, two


@pytest.mark.parametrize("harm", ["flipped", "truncated", "gone", "swapped", "other map", "older"])
def test_a_leaf_that_is_not_what_was_written_is_refused(harm: str) -> None:
    """Flipped, cut, gone, moved to another place, taken from another map or another time: an error, never an answer."""
    with shrunk():
        stored = Stored().filled(60)
        key, name, data, one, two = first_leaf(stored)
        label = b"item"
        if harm == "flipped":
            stored.replace(name, data[:40] + bytes([data[40] ^ 1]) + data[41:])
        elif harm == "truncated":
            stored.replace(name, data[: one.length - 1])
        elif harm == "gone":
            stored.replace(name, None)
        elif harm == "swapped":
            places = [two, one, *stored.leaves()[2:]]
            stored.saved = SavedMap(stored.saved.starts, b"".join(struct.pack("<3I", *each) for each in places))
        elif harm == "other map":
            label = b"tree"
        else:
            other = Stored().filled(60)  # the same leaves, sealed with the same keys, in another segment
            stored.replace(name, other.store.get(other.segment_names()[0]))
        with pytest.raises(StateDamaged):
            stored.load(label=label).get_many([key])


@pytest.mark.parametrize(
    "saved",
    [
        SavedMap(starts=b""),
        SavedMap(starts=bytes(7)),
        SavedMap(starts=bytes(16)),
        SavedMap(starts=bytes(16), places=bytes(24)),
        SavedMap(starts=struct.pack("<Q", 1)),
        SavedMap(starts=struct.pack("<3Q", 0, 2, 1), places=bytes(36)),
        SavedMap(pending=bytes(31)),
    ],
)
def test_a_root_that_does_not_fit_together_is_refused(saved: SavedMap) -> None:
    """Tables of different lengths or out of order are damage, not an empty map."""
    with pytest.raises(StateDamaged):
        PagedMap(b"item", 16, 16, Segments(MemoryStore(), KEYS), saved)


def test_a_leaf_in_a_segment_that_no_head_names_is_refused() -> None:
    """A place must lie in a segment that the head knows."""
    saved = SavedMap(places=struct.pack("<3I", 3, 0, 100))
    with pytest.raises(StateDamaged):
        PagedMap(b"item", 16, 16, Segments(MemoryStore(), KEYS), saved).get_many([bytes(16)])


def test_a_record_of_another_width_is_a_mistake_of_ours() -> None:
    """A map of fixed widths would be destroyed by one record of another width."""
    each = Stored().load()
    with pytest.raises(AssertionError):
        each.put(key_of(1), b"short")
