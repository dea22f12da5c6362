"""The state that goes to Microsoft and comes back: whatever is not exactly what went, in time and once, is refused."""

import base64
import os
import random
import struct
from collections.abc import Iterator

import pytest

from backup_core.onboarding.state import STATE_SECONDS, StateRefused, States, new_binding
from backup_core.registry.nonces import Nonces
from backup_core.testing.fake_clock import FakeClock
from backup_core.testing.memory_table import MemoryTable

_TRIES = 10_000 if os.environ.get("HYPOTHESIS_PROFILE") == "soak" else 1_000


def states(clock: FakeClock, key: bytes = b"k" * 32) -> States:
    return States(key, Nonces(MemoryTable(), clock), clock)


def refused(made: States, state: str, purpose: str = "onboard", binding: str | None = "b") -> bool:
    try:
        made.redeem(state, purpose, binding)  # type: ignore[arg-type]
    except StateRefused:
        return True
    return False


def test_good_once() -> None:
    """A state is accepted in the browser that began, for what it was made, and not a second time."""
    made, binding = states(FakeClock()), new_binding()
    state = made.issue("onboard", binding)
    made.redeem(state, "onboard", binding)
    assert refused(made, state, binding=binding)


def test_two_states_are_two() -> None:
    """What one browser uses up leaves another one's state alone, also where both keep the same value."""
    made = states(FakeClock())
    first, second = made.issue("onboard", "b"), made.issue("onboard", "b")
    assert first != second
    assert not refused(made, first)
    assert not refused(made, second)


@pytest.mark.parametrize(("seconds", "expected"), [(0, False), (STATE_SECONDS - 1, False), (STATE_SECONDS, True)])
def test_ends_after_a_quarter_of_an_hour(seconds: int, expected: bool) -> None:
    """In time it is accepted; from the end on it is not."""
    clock = FakeClock()
    made = states(clock)
    state = made.issue("onboard", "b")
    clock.advance(seconds)
    assert refused(made, state) == expected


def test_a_refused_one_is_not_used_up() -> None:
    """Whoever lacks the cookie, or tries it on the other way, cannot spoil the state for its owner."""
    made = states(FakeClock())
    state = made.issue("onboard", "b")
    assert refused(made, state, binding="other")
    assert refused(made, state, binding=None)
    assert refused(made, state, binding="")
    assert refused(made, state, purpose="connect")
    assert not refused(made, state)


def test_another_key() -> None:
    """A state of another installation, or of before the master key was replaced, is refused."""
    clock = FakeClock()
    assert refused(states(clock), states(clock, b"o" * 32).issue("onboard", "b"))


def _mutations(chance: random.Random, state: str) -> Iterator[str]:
    """States that are almost right."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=+/ %\x00é\ud800"
    text, _, signature = state.partition(".")
    while True:
        at = chance.randrange(len(state))
        letter = chance.choice(alphabet)
        if state[at] != letter:
            yield state[:at] + letter + state[at + 1 :]
        yield state[:at] + letter + state[at:]
        yield state[:at] + state[at + 1 :]
        yield state + letter
        yield letter + state
        yield state[:at]
        yield f"{text}={signature}"
        yield f"{text}.{signature}="
        yield f"{text}.{signature}.{signature}"
        yield f"{chance.randbytes(12).hex()}.{signature}"
        content = bytearray(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        yield base64.urlsafe_b64encode(content).decode().rstrip("=") + "." + signature
        later = content[:1] + struct.pack(">d", 4e9) + content[9:]
        yield base64.urlsafe_b64encode(later).decode().rstrip("=") + "." + signature


def test_mutated_states() -> None:
    """None of a thousand (soak: ten thousand) changed states is accepted, and the right one still is afterwards."""
    chance = random.Random(5)
    made = states(FakeClock())
    state = made.issue("onboard", "b")
    mutations = _mutations(chance, state)
    for _ in range(_TRIES):
        mutated = next(mutations)
        assert mutated != state
        assert refused(made, mutated), mutated
    assert not refused(made, state)


def test_no_other_spelling() -> None:
    """The bits that base64 leaves unused are no way to write the same state anew, once it is used."""
    made = states(FakeClock())
    state = made.issue("onboard", "b")
    made.redeem(state, "onboard", "b")
    for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_":
        assert refused(made, state[:-1] + letter)
        text, _, signature = state.partition(".")
        assert refused(made, f"{text[:-1]}{letter}.{signature}")


@pytest.mark.parametrize("state", ["", ".", "..", "a.b", "x" * 100_000, ".x", "x.", "\ud800.\ud800", "None", "0"])
def test_nonsense(state: str) -> None:
    """Whatever else comes as a state is refused in the same way."""
    assert refused(states(FakeClock()), state)


def test_ends_by_itself() -> None:
    """Its end is in the state: a memory of used ones that forgets everything makes none younger."""

    class Forgetful:
        def use(self, *_: object) -> bool:
            return True

    clock = FakeClock()
    made = States(b"k" * 32, Forgetful(), clock)
    state = made.issue("onboard", "b")
    clock.advance(STATE_SECONDS)
    assert refused(made, state)
