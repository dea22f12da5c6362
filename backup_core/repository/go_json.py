"""Names, strings and times written as Go's encoder writes them, so that restic keeps the id of every tree it rewrites.

It knows nothing of nodes (`node.py`). No JSON encoder of Python escapes as Go does, and restic passes names through
Go's `strconv.Quote` before they become JSON: a raw quote or line break would make a whole folder unreadable.
"""

import datetime
import json
import re

FIRST_NANOSECOND = -9_214_560_000_000_000_000  # 1678-01-01: restic reckons in nanoseconds of 64 bits, and what lies
LAST_NANOSECOND = 9_214_646_399_999_999_999  # outside these years is restored as nonsense (2261-12-31 is the last day)

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_SECOND = 1_000_000_000
_RFC_3339 = re.compile(r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(?:\.(\d{1,9})\d*)?([Zz]|[+-]\d\d:\d\d)\Z")

_escaped = re.compile(r'["\\<>&]').search  # printable characters that Go escapes in a name, in JSON, or in both
_HTML = {each: f"\\u{ord(each):04x}" for each in "<>&\u2028\u2029"}
_QUOTED = {7: r"\a", 8: r"\b", 9: r"\t", 10: r"\n", 11: r"\v", 12: r"\f", 13: r"\r", 34: r"\"", 92: r"\\"}
_UNQUOTED = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_ESCAPE = re.compile(r"\\(?:x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-7]{3}|.)", re.DOTALL)


def json_string(text: str) -> str:
    """A JSON string, quotes included: raw UTF-8, but `<`, `>`, `&` and two line separators escaped."""
    if text.isprintable() and not _escaped(text):
        return f'"{text}"'
    encoded = json.dumps(text, ensure_ascii=False)
    for each, escape in _HTML.items():
        encoded = encoded.replace(each, escape)
    return encoded


def quote(name: str) -> str:
    """The inside of `strconv.Quote(name)`. Bytes that are no UTF-8 come as surrogate escapes (U+DC80 to U+DCFF).

    What is printable differs a little between versions of Unicode; another spelling of the same name is the worst case.
    """
    if name.isprintable() and '"' not in name and "\\" not in name:
        return name
    return "".join(map(_quote_character, name))


def _quote_character(character: str) -> str:
    code = ord(character)
    if code in _QUOTED:
        return _QUOTED[code]
    if character.isprintable():
        return character
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x20 or code == 0x7F:
        return f"\\x{code:02x}"
    if 0xD800 <= code <= 0xDFFF:
        return "\ufffd"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def unquote(quoted: str) -> str:
    """The name that `quote` was given. Bytes that are no UTF-8 become surrogate escapes."""
    if "\\" not in quoted:
        return quoted
    data, end = bytearray(), 0
    for match in _ESCAPE.finditer(quoted):
        data += quoted[end : match.start()].encode() + _unquote_escape(match.group()[1:])
        end = match.end()
    data += quoted[end:].encode()
    return data.decode("utf-8", "surrogateescape")


def _unquote_escape(escape: str) -> bytes:
    kind = escape[0]
    if kind in "01234567" and len(escape) == 3:
        return bytes([int(escape, 8) & 0xFF])
    if kind in "xuU" and len(escape) > 1:
        code = int(escape[1:], 16)
        if kind == "x":
            return bytes([code])
        return chr(code).encode("utf-8", "replace") if code <= 0x10FFFF else b"\xef\xbf\xbd"
    return _UNQUOTED.get(kind, kind).encode()


def time_text(nanoseconds: int) -> str:
    """`2023-11-14T22:13:20.5Z` of nanoseconds since 1970: nine digits at most, clamped to the years 1678 to 2261."""
    seconds, fraction = divmod(min(max(nanoseconds, FIRST_NANOSECOND), LAST_NANOSECOND), _SECOND)
    text = (_EPOCH + datetime.timedelta(seconds=seconds)).isoformat()[:19]
    return text + (f".{fraction:09d}".rstrip("0") if fraction else "") + "Z"


def time_nanoseconds(text: str) -> int:
    """Nanoseconds since 1970 of an RFC 3339 time. ValueError."""
    match = _RFC_3339.match(text)
    if match is None:
        raise ValueError(f"no RFC 3339 time: {text!r}")
    day, time_of_day, fraction, offset = match.groups()
    moment = datetime.datetime.fromisoformat(f"{day}T{time_of_day}+00:00")
    nanoseconds = (moment - _EPOCH) // datetime.timedelta(seconds=1) * _SECOND + int((fraction or "").ljust(9, "0"))
    if offset not in "Zz":
        away = (int(offset[1:3]) * 60 + int(offset[4:6])) * 60 * _SECOND
        nanoseconds += away if offset[0] == "-" else -away
    return nanoseconds
