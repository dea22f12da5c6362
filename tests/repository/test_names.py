"""Names: whatever OneDrive (or a hostile server) calls an item, its node has a name that restic restores."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from backup_core.repository.names import STORED_MAX, TRUE_MAX, contested_name, stored_name, true_name

ANY_TEXT = st.text(st.characters(), max_size=300)  # surrogates too


def restorable(name: str) -> bool:
    data = name.encode()  # raises for a lone surrogate
    return 0 < len(data) <= STORED_MAX and name not in (".", "..") and not {"/", "\0"} & set(name)


@given(name=ANY_TEXT, item_id=ANY_TEXT, attempt=st.integers(0, 3))
@example(name="", item_id="", attempt=0)
@example(name="..", item_id="/", attempt=0)
@example(name="é" * 255, item_id="01", attempt=1)
@example(name="\U0001f600" * 64, item_id="01", attempt=0)
@example(name="\ud800" * 400, item_id="\udfff" * 400, attempt=0)
def test_every_stored_name_can_be_restored(name: str, item_id: str, attempt: int) -> None:
    """Not empty, no dots alone, no slash, NUL or lone surrogate, at most 255 bytes, whatever came in."""
    assert restorable(stored_name(name))
    assert restorable(contested_name(stored_name(name), item_id, attempt))


@given(st.text(st.characters(exclude_characters="/\0", exclude_categories=("Cs",)), min_size=1, max_size=60))
def test_an_ordinary_name_is_stored_as_it_is(name: str) -> None:
    """Quotes, line breaks, right-to-left marks and emoji are names like any other."""
    assert stored_name(name) == name or name in (".", "..")


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        ("a/b", "a_b"),
        ("../evil", ".._evil"),
        ("a\0b", "a_b"),
        (".", "_"),
        ("..", "__"),
        ("", "_"),
        ("...", "..."),
        ("half \ud83d pair", "half \ufffd pair"),
        ('new\nline "quoted" back\\slash', 'new\nline "quoted" back\\slash'),
        ("x" * 255, "x" * 255),
    ],
)
def test_names_that_restic_refuses_are_replaced(name: str, stored: str) -> None:
    """What would be refused or lost by a restore gets the nearest name that is not."""
    assert stored_name(name) == stored


def test_a_long_name_is_cut_between_characters_and_keeps_its_extension() -> None:
    """765 bytes of UTF-8 become at most 255, still valid, with a hash of the whole and the extension."""
    stored = stored_name("ж" * 250 + ".docx")
    assert len(stored.encode()) <= STORED_MAX
    assert stored.endswith(".docx")
    assert stored.startswith("ж" * 100)
    assert stored != stored_name("ж" * 249 + "з.docx")


def test_an_extension_longer_than_its_use_is_cut_too() -> None:
    """A dot at the front of a long name does not make the rest an extension."""
    assert len(stored_name("a." + "b" * 400)) == STORED_MAX


@given(st.text(st.characters(), min_size=200, max_size=1500))
@example("\u20ac" * 255)
@example("\ud800" * 1000)
def test_a_name_longer_than_onedrive_allows_is_shortened_once(name: str) -> None:
    """What is kept as the true name is short enough to be set as an attribute, and leads to the same stored name."""
    kept = true_name(name)
    assert len(kept.encode("utf-8", "surrogatepass")) <= TRUE_MAX
    assert true_name(kept) == kept
    assert stored_name(kept) == stored_name(name)
    if len(name) <= 255:
        assert kept == name


def test_attempts_at_a_contested_name_differ() -> None:
    """A loser whose second name is taken as well finds a third, for short names and for cut ones."""
    for name in ("a.txt", "x" * 255):
        assert len({contested_name(name, "01ID", attempt) for attempt in range(20)} | {name}) == 21
