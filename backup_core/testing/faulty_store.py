"""A store that fails as its script says: the one way in which tests make storage go wrong. It repairs nothing.

A script is a list of faults. Each waits for the calls that match it and does its effect on one or more of them; a fault
that never fired fails the test, because that test proved nothing.

    with FaultyStore(MemoryStore(), [Fault(LoseReply(), "put_new", name="^data/", nth=3)]) as store: ...
"""

import re
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from types import TracebackType
from typing import NamedTuple, Self, TypeVar

from backup_core.errors import Temporary
from backup_core.storage.store import Buffer, Store, Stored

T = TypeVar("T")

ANY = "any"
WRITE = "write"  # put_new or delete: the calls after which the world is another one
_WRITES = {"put_new", "delete"}


class Crash(BaseException):
    """The process died here. No BaseException handler of the code under test may do more than a dead process could."""


def unreachable() -> Temporary:
    return Temporary("The store cannot be reached.", why="A test said so.")


@dataclass(frozen=True)
class Refuse:
    """The call raises and has no effect."""

    error: Callable[[], BaseException] = unreachable


@dataclass(frozen=True)
class LoseReply:
    """The call has its effect, and raises nevertheless."""

    error: Callable[[], BaseException] = unreachable


@dataclass(frozen=True)
class Die:
    """The call raises Crash, before or after its effect, and so does every later call of any thread."""

    after: bool = False


@dataclass(frozen=True)
class Garble:
    """What `get` and `get_range` return is passed through `change`."""

    change: Callable[[bytes], bytes]


@dataclass(frozen=True)
class Hide:
    """A stale listing: names in which `pattern` is found are not shown."""

    pattern: str


@dataclass(frozen=True)
class BreakOff:
    """A listing raises after `names` names."""

    names: int
    error: Callable[[], BaseException] = unreachable


@dataclass(frozen=True)
class Meanwhile:
    """`act` is called before the call goes on: another writer, or a cancelled run."""

    act: Callable[[], None]


Effect = Refuse | LoseReply | Die | Garble | Hide | BreakOff | Meanwhile
Effects = list[Effect]


@dataclass(frozen=True)
class Fault:
    """`effect` on the `nth` matching call and the `times - 1` after it.

    `method`: a method of Store, WRITE or ANY. `name`: a regular expression found in the object's name (a listing's
    name is its prefix).
    """

    effect: Effect
    method: str = ANY
    name: str = ""
    nth: int = 1
    times: int = 1

    def matches(self, call: "Call") -> bool:
        of_this_kind = self.method in {ANY, call.method} or (self.method == WRITE and call.method in _WRITES)
        return of_this_kind and re.search(self.name, call.name) is not None


class Call(NamedTuple):
    method: str
    name: str


Calls = list[Call]


@dataclass
class _Waiting:
    fault: Fault
    matched: int = 0
    fired: int = 0


class FaultyStore(Store):
    """`calls`: what was asked, in order, refused calls too: the places where a run can die."""

    def __init__(self, inner: Store, plan: Sequence[Fault] = ()) -> None:
        self._inner = inner
        self._plan = [_Waiting(fault) for fault in plan]
        self._lock = threading.Lock()
        self._dead = False
        self.calls: Calls = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.verify_all_fired()

    def verify_all_fired(self) -> None:
        """AssertionError that names the faults which did not happen as often as the script says."""
        unfired = [waiting.fault for waiting in self._plan if waiting.fired < waiting.fault.times]
        if unfired:
            raise AssertionError(f"faults that never fired: {unfired}")

    @property
    def writes(self) -> int:
        """How many calls so far were put_new or delete."""
        return sum(call.method in _WRITES for call in self.calls)

    def get(self, name: str) -> bytes:
        return self._read(Call("get", name), lambda: self._inner.get(name))

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        return self._read(Call("get_range", name), lambda: self._inner.get_range(name, offset, length))

    def put_new(self, name: str, data: Buffer) -> None:
        self._do(Call("put_new", name), lambda: self._inner.put_new(name, data))

    def size(self, name: str) -> int:
        return self._do(Call("size", name), lambda: self._inner.size(name))[0]

    def list(self, prefix: str = "") -> Iterator[Stored]:
        listed, effects = self._do(Call("list", prefix), lambda: self._inner.list(prefix))
        for effect in effects:
            if isinstance(effect, Hide):
                listed = _without(listed, effect.pattern)
            elif isinstance(effect, BreakOff):
                listed = _broken_off(listed, effect)
        return listed

    def delete(self, name: str) -> None:
        self._do(Call("delete", name), lambda: self._inner.delete(name))

    def _read(self, call: Call, get: Callable[[], bytes]) -> bytes:
        data, effects = self._do(call, get)
        for effect in effects:
            if isinstance(effect, Garble):
                data = effect.change(data)
        return data

    def _do(self, call: Call, act: Callable[[], T]) -> tuple[T, Effects]:
        """The inner store's answer, and the effects that are about the answer."""
        effects = self._effects_on(call)
        for effect in effects:
            if isinstance(effect, Meanwhile):
                effect.act()
            elif isinstance(effect, Refuse):
                raise effect.error()
            elif effect == Die(after=False):
                raise self._die(call)
        answer = act()
        for effect in effects:
            if isinstance(effect, LoseReply):
                raise effect.error()
            if effect == Die(after=True):
                raise self._die(call)
        return answer, effects

    def _effects_on(self, call: Call) -> Effects:
        with self._lock:
            if self._dead:
                raise Crash("this process is dead")
            self.calls.append(call)
            effects: Effects = []
            for waiting in self._plan:
                if waiting.fault.matches(call):
                    waiting.matched += 1
                    if 0 <= waiting.matched - waiting.fault.nth < waiting.fault.times:
                        waiting.fired += 1
                        effects.append(waiting.fault.effect)
            return effects

    def _die(self, call: Call) -> Crash:
        with self._lock:
            self._dead = True
        return Crash(f"died at {call.method} {call.name}")


def _without(listed: Iterator[Stored], pattern: str) -> Iterator[Stored]:
    return (stored for stored in listed if not re.search(pattern, stored.name))


def _broken_off(listed: Iterator[Stored], effect: BreakOff) -> Iterator[Stored]:
    yield from islice(listed, effect.names)
    raise effect.error()
