"""Nodes: bytes as Go writes them, and every fact about an item read back from them."""

import json
from datetime import UTC, datetime
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backup_core.errors import DrivekeepError
from backup_core.repository import go_json
from backup_core.repository.node import VALUES_MAX
from backup_core.repository.tree import (
    Node,
    Origin,
    decode_node,
    encode_node,
    file_node,
    folder_node,
    is_storable,
    top_node,
)

NOON = int(datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC).timestamp()) * 10**9
CHUNK, SUBTREE = "c" * 64, "5" * 64


class Facts(NamedTuple):
    id: str
    name: str
    size: int = 3
    quickxor: str = "AAAAAAAAAAAAAAAAAAAAAAAAAAA="
    etag: str = '"{E},1"'
    modified: int = NOON + 123_450_000
    created: int = NOON


def file_bytes(item: Facts) -> bytes:
    return file_node(item, [CHUNK], item.size)


def test_a_file_is_written_as_go_would() -> None:
    """Field order, mode, times without trailing zeros, no inode, device or links: byte for byte."""
    assert file_node(Facts("01A", "a&b.txt"), [bytes.fromhex(CHUNK)], 3) == (
        b'{"name":"a\\u0026b.txt","type":"file","mode":420,"mtime":"2023-11-14T22:13:20.12345Z",'
        b'"atime":"2023-11-14T22:13:20.12345Z","ctime":"2023-11-14T22:13:20Z","uid":0,"gid":0,"size":3,'
        b'"extended_attributes":[{"name":"user.drivekeep.id","value":"MDFB"},'
        b'{"name":"user.drivekeep.quickxor","value":"QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBPQ=="}],'
        b'"content":["' + CHUNK.encode() + b'"]}'
    )


def test_an_empty_file_has_an_empty_list_and_no_size() -> None:
    """restic's check fails on an empty file with null, and Go leaves a size of zero out."""
    node = file_node(Facts("01A", "a", size=0, quickxor=""), [], 0)
    assert node.endswith(b',"content":[]}')
    assert b'"size"' not in node
    assert b"etag" not in node


def test_a_folder_is_written_as_go_would() -> None:
    """A folder has null for its content, Go's folder bit in its mode, and its subtree last."""
    assert folder_node(Facts("01F", "f"), SUBTREE) == (
        b'{"name":"f","type":"dir","mode":2147484141,"mtime":"2023-11-14T22:13:20.12345Z",'
        b'"atime":"2023-11-14T22:13:20.12345Z","ctime":"2023-11-14T22:13:20Z","uid":0,"gid":0,'
        b'"extended_attributes":[{"name":"user.drivekeep.id","value":"MDFG"}],"content":null,"subtree":"'
        + SUBTREE.encode()
        + b'"}'
    )


@pytest.mark.parametrize(
    ("item", "stored_size", "verdict", "expected"),
    [
        (Facts("01", "a"), 3, "verified", {"id", "quickxor"}),
        (Facts("01", "a", quickxor=""), 3, "unverifiable", {"id", "etag", "verdict"}),
        (Facts("01", "a"), 4, "mismatch", {"id", "quickxor", "size", "verdict"}),
        (Facts("01", "a/b"), 3, "verified", {"id", "quickxor", "name"}),
        (Facts("01", "a", size=0, quickxor=""), 0, "verified", {"id"}),
    ],
)
def test_nodes_say_only_what_does_not_go_without_saying(item, stored_size, verdict, expected) -> None:
    """A folder of 50,000 files is one object: every attribute that is always the same would count 50,000 times."""
    node = decode_node(file_node(item, [CHUNK], stored_size, verdict))
    assert {each.name.removeprefix("user.drivekeep.") for each in node.extended_attributes} == expected
    assert (node.item_id, node.quickxor, node.true_name) == (item.id, item.quickxor, item.name)
    assert (node.reported_size, node.size, node.verdict) == (item.size, stored_size, verdict)
    assert node.etag == (item.etag if "etag" in expected else "")
    assert (node.modified, node.created) == (item.modified, item.created)


def test_the_top_folder_says_whose_drive_it_is() -> None:
    """Source, account, drive, root and marks come back from the one node that survives a rewrite of the snapshot."""
    origin = Origin("onedrive-changes", "ann@example.org", "b!x", "Documents/Año", suspicious=True, incomplete=7)
    node = decode_node(top_node(Facts("01R", "root"), "OneDrive", SUBTREE, origin))
    assert (node.origin, node.name, node.type, node.subtree) == (origin, "OneDrive", "dir", SUBTREE)
    plain = Origin("onedrive", "ann@example.org", "b!x")
    encoded = top_node(Facts("01R", "root"), "OneDrive", SUBTREE, plain)
    assert decode_node(encoded).origin == plain
    assert not any(word in encoded for word in (b"suspicious", b"incomplete", b"keep.root"))
    assert decode_node(folder_node(Facts("01R", "root"), SUBTREE)).origin is None


def test_times_are_clamped_to_what_restic_restores() -> None:
    """A file dated 1601 is restored as 1678, not as 2185."""
    node = decode_node(file_node(Facts("01", "a", modified=-(10**19), created=10**19), [], 3))
    assert (node.mtime, node.ctime) == ("1678-01-01T00:00:00Z", "2261-12-31T23:59:59.999999999Z")


@given(st.integers(go_json.FIRST_NANOSECOND, go_json.LAST_NANOSECOND))
def test_times_come_back_to_the_nanosecond(nanoseconds: int) -> None:
    """What is written is RFC 3339 in UTC without trailing zeros, and read as the same moment."""
    text = go_json.time_text(nanoseconds)
    assert go_json.time_nanoseconds(text) == nanoseconds
    assert text.endswith("Z")
    assert "." not in text or text[-2] != "0"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1970-01-01T01:00:00+01:00", 0), ("1969-12-31T22:30:00.5-01:30", 0.5), ("1970-01-01T00:00:00.0000000001Z", 0)],
)
def test_times_of_other_writers_are_read(text: str, seconds: float) -> None:
    """restic writes local times with their offset; digits past the ninth are dropped."""
    assert go_json.time_nanoseconds(text) == int(seconds * 10**9)


@pytest.mark.parametrize("text", ["", "yesterday", "2023-13-01T00:00:00Z", "2023-01-01 00:00:00Z"])
def test_what_is_no_time_is_refused(text: str) -> None:
    """A node with a broken time is an error, not a file dated 1970."""
    with pytest.raises(ValueError):
        go_json.time_nanoseconds(text)


@pytest.mark.parametrize(
    ("name", "in_json"),
    [
        ("plain name.txt", b'"plain name.txt"'),
        ("ünï 漢字 😀", '"ünï 漢字 😀"'.encode()),
        ('say "hi"', rb'"say \\\"hi\\\""'),
        ("back\\slash", rb'"back\\\\slash"'),
        ("a\nb\tc\x07", rb'"a\\nb\\tc\\a"'),
        ("esc\x1b del\x7f", rb'"esc\\x1b del\\x7f"'),
        ("zero\u200bwidth", rb'"zero\\u200bwidth"'),
        ("no\u00a0break", rb'"no\\u00a0break"'),
        ("private \ue000 \U000f0000", rb'"private \\ue000 \\U000f0000"'),
        ("<a&b>", rb'"\u003ca\u0026b\u003e"'),
        ("line\u2028separator", rb'"line\\u2028separator"'),
        ("bytes \udcff\udc80", rb'"bytes \\xff\\x80"'),
        ("replaced \ufffd", '"replaced \ufffd"'.encode()),
    ],
)
def test_names_are_quoted_as_go_quotes_them(name: str, in_json: bytes) -> None:
    """strconv.Quote first, JSON second: a raw quote or line break makes a whole folder unreadable for restic."""
    node = Node(quoted=go_json.quote(name), type="file")
    assert encode_node(node).startswith(b'{"name":' + in_json + b',"type":"file"')
    assert decode_node(encode_node(node)).name == name


@given(st.text(st.characters(exclude_categories=("Cs",))))
def test_any_name_comes_back_from_its_quoted_form(name: str) -> None:
    """Quoting loses nothing, and what lies in the file is JSON."""
    encoded = encode_node(Node(quoted=go_json.quote(name), type="file"))
    assert decode_node(encoded).name == name
    assert all(character >= " " for character in json.loads(encoded)["name"])


@pytest.mark.parametrize(
    ("quoted", "name"), [(r"\101\x", "Ax"), (r"\ud800", "?"), (r"\U0011ffff", "\ufffd"), ("\\", "\\")]
)
def test_odd_escapes_of_other_writers_do_not_stop_a_reader(quoted: str, name: str) -> None:
    """Escapes that restic itself never writes give some name, not an exception."""
    assert go_json.unquote(quoted) == name


def test_nodes_that_restic_made_keep_all_their_fields() -> None:
    """Every field that restic knows survives decoding and encoding, in its place."""
    encoded = (
        b'{"name":"x","type":"symlink","mode":134218239,"mtime":"2023-11-14T23:13:20+01:00","atime":"2023-11-14T22:13:20Z",'
        b'"ctime":"2023-11-14T22:13:20Z","uid":1000,"gid":100,"user":"a<b","group":"g","inode":18446744073709551615,'
        b'"device_id":2049,"size":5,"links":2,"linktarget":"../y & z","linktarget_raw":"/w==","extended_attributes":'
        b'[{"name":"user.a","value":""},{"name":"user.b","value":null}],"generic_attributes":{"windows.x":"AA=="},'
        b'"device":7,"content":null,"error":"e"}'
    ).replace(b"a<b", rb"a\u003cb").replace(b"y & z", rb"y \u0026 z")  # fmt: skip
    assert encode_node(decode_node(encoded)) == encoded
    assert decode_node(encoded).verdict is None


@pytest.mark.parametrize("field", ["id", "etag", "name"])
def test_an_item_that_no_node_can_describe_is_refused(field: str) -> None:
    """Values that a restore could not set again are an invalid item, and whoever plans can ask before."""
    item = Facts("01", "a", quickxor="")._replace(**{field: "x" * VALUES_MAX})
    if field == "name":
        assert is_storable(item)
        assert len(decode_node(file_bytes(item)).true_name) <= 1024
        return
    assert not is_storable(item)
    with pytest.raises(DrivekeepError) as caught:
        file_bytes(item)
    assert caught.value.reason == "invalid-item"


def test_an_item_without_an_id_is_refused() -> None:
    """Nobody could find its node again."""
    assert not is_storable(Facts("", "a"))
    with pytest.raises(DrivekeepError):
        file_bytes(Facts("", "a"))
