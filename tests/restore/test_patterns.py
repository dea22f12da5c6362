"""Patterns mean what the room's text says they mean."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backup_core.errors import Usage
from backup_core.restore.patterns import Filter


@pytest.mark.parametrize(
    ("pattern", "hits", "misses"),
    [
        ("*.txt", ["a.txt", "x/y/b.TXT", ".txt", "d.txt/inner"], ["a.txt2", "txt", "a.tx"]),
        ("a/*.txt", ["a/b.txt", "A/B.txt"], ["x/a/b.txt", "a/b/c.txt", "b.txt"]),
        ("/a", ["a", "a/b"], ["b/a"]),
        ("a", ["a", "b/a", "b/a/c"], ["ab", "ba"]),
        ("a/", ["a/b", "x/a/b"], ["a", "x/a"]),
        ("a/**", ["a/b", "a/b/c"], ["a", "ab"]),
        ("**/a", ["a", "x/a", "x/y/a"], ["xa"]),
        ("a/**/b", ["a/b", "a/x/b", "a/x/y/b"], ["ab", "a/xb"]),
        ("a**b/c", ["ab/c", "axb/c", "ax/yb/c"], ["a/b"]),
        ("?.md", ["1.md", "漢.md"], ["12.md", ".md", "a/.md"]),
        ("x?y", ["x1y"], ["x/y", "xy"]),
        ("[a-c]1", ["a1", "C1"], ["d1", "-1"]),
        ("[!a-c]1", ["d1"], ["a1", "/1"]),
        ("[^a]", ["b"], ["a"]),
        ("[]]", ["]"], ["a"]),
        ("[c-a]", ["b"], ["d"]),
        ("[ab", ["[ab"], ["a"]),
        ("[]", ["[]"], ["a"]),
        (r"\*", ["*"], ["a"]),
        (r"\!x", ["!x"], ["x"]),
        ("a.b+(c)|d$", ["a.b+(c)|d$"], ["aXb+(c)|d$", "d$"]),
        ("line\nbreak", ["line\nbreak"], ["line"]),
        ("*", ["a", "a\nb", "x/y"], []),
        ("ÄÖ", ["äö"], ["ao"]),
    ],
)
def test_what_a_pattern_matches(pattern: str, hits: list[str], misses: list[str]) -> None:
    """As --include it chooses the hits and no miss, as --exclude it is the other way round."""
    include, exclude = Filter([pattern]), Filter(exclude=[pattern])
    assert [path for path in hits if not include.wants_file(path)] == []
    assert [path for path in misses if include.wants_file(path)] == []
    assert [path for path in hits if exclude.wants_file(path)] == []
    assert [path for path in misses if not exclude.wants_file(path)] == []


def test_folders() -> None:
    """A folder is there by itself where it is included, and is not looked into where it is excluded."""
    only = Filter(["docs/"], ["docs/old/", "*.tmp"])
    assert only.wants_folder("docs") and only.wants_folder("a/docs/new")
    assert not only.wants_folder("a") and not only.wants_folder("docs/old")
    assert only.may_hold("a") and not only.may_hold("docs/old") and not only.may_hold("x.tmp")
    assert not only.wants_file("docs/old/a") and only.wants_file("docs/a") and not only.wants_file("docs/b.tmp")
    assert Filter().wants_file("any") and Filter().wants_folder("any") and Filter().may_hold("any")


def test_several_patterns_are_any_of_them() -> None:
    """Includes add up, and an exclude beats each of them."""
    both = Filter(["a|b", "c"], ["c/d"])
    assert both.wants_file("a|b") and both.wants_file("c") and both.wants_file("c/e")
    assert not both.wants_file("a") and not both.wants_file("c/d")


@pytest.mark.parametrize("pattern", ["", "/", "//", "!a", "!"])
def test_what_is_no_pattern(pattern: str) -> None:
    """Usage rather than a guess."""
    with pytest.raises(Usage, match="is no pattern"):
        Filter([pattern])


@given(st.text(alphabet="ab*?[]!^-\\/.(", min_size=1, max_size=12), st.text(alphabet="ab/.", max_size=8))
def test_any_text_is_a_pattern_or_usage(pattern: str, path: str) -> None:
    """No pattern is a fault of the program, and what is included is excluded by the same pattern."""
    try:
        include, exclude = Filter([pattern]), Filter(exclude=[pattern])
    except Usage:
        return
    assert include.wants_file(path) != exclude.wants_file(path)
