"""Graph's JSON into drive items, and ids into one spelling."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backup_core.graph.items import SELECT, DriveItem, normal_id, parse_item

FILE = {
    "@odata.type": "#microsoft.graph.driveItem",
    "id": "01D6JQORQZABCDEFGHIJKLMNOPQRSTUVWX",
    "name": "a.docx",
    "size": 17133,
    "createdDateTime": "2024-05-02T08:00:00Z",
    "lastModifiedDateTime": "2024-05-02T08:00:00Z",
    "eTag": '"{GUID},2"',
    "parentReference": {"driveType": "business", "driveId": "b!x", "id": "01D6JQORV6Y2GOVW7725BZO354PWSELRRZ"},
    "file": {"hashes": {"quickXorHash": "YRDDGAAAAAAAAAAAAwAAAAAAAAA="}},
    "fileSystemInfo": {
        "createdDateTime": "2020-01-01T00:00:00Z",
        "lastModifiedDateTime": "2024-05-01T08:00:00.1234567Z",
    },
}


def changed(**facts: object) -> DriveItem:
    return parse_item({name: fact for name, fact in {**FILE, **facts}.items() if fact is not None})


def test_a_file() -> None:
    """Every fact of an ordinary file arrives; its times are the client's, to the last digit."""
    expected = DriveItem(
        id="01D6JQORQZABCDEFGHIJKLMNOPQRSTUVWX",
        parent="01D6JQORV6Y2GOVW7725BZO354PWSELRRZ",
        name="a.docx",
        kind="file",
        size=17133,
        quickxor="YRDDGAAAAAAAAAAAAwAAAAAAAAA=",
        etag='"{GUID},2"',
        modified=1714550400_123456700,
        created=1577836800_000000000,
    )
    assert expected == parse_item(FILE)


@pytest.mark.parametrize(
    ("facts", "kind"),
    [
        ({"file": None, "folder": {"childCount": 0}}, "folder"),
        ({"file": None, "folder": {}, "package": {"type": "oneNote"}}, "package"),
        ({"file": None, "package": {"type": "oneNote"}}, "package"),
        ({"file": None, "bundle": {"childCount": 2}}, "package"),
        ({"remoteItem": {"id": "x", "file": {}}}, "remote"),
        ({"file": None, "folder": {}, "remoteItem": {}}, "remote"),
        ({"deleted": {"state": "deleted"}}, "deleted"),
        ({"deleted": {}, "file": {"hashes": {"quickXorHash": "AAAA"}}}, "deleted"),
        ({"file": None}, "unknown"),
        ({"file": None, "someNewFacet": {}}, "unknown"),
        ({"size": None}, "unknown"),
        ({"size": -1}, "unknown"),
        ({"size": 1 << 64}, "unknown"),
        ({"size": True}, "unknown"),
        ({"size": "17"}, "unknown"),
        ({"id": None}, "unknown"),
        ({"id": 7}, "unknown"),
    ],
)
def test_kinds(facts: dict[str, object], kind: str) -> None:
    """Facets decide what an item is; a file without a usable size is never taken for empty."""
    assert kind == changed(**facts).kind


def test_root() -> None:
    """The root is a folder without a parent, and marked."""
    root = changed(file=None, root={}, parentReference={"driveId": "b!x"})
    assert (root.kind, root.root, root.parent) == ("folder", True, "")


def test_tombstones() -> None:
    """A tombstone needs no name, no size and no sensible date."""
    business = parse_item({"id": "01A", "parentReference": {"id": "01B"}, "deleted": {"state": "deleted"}})
    assert (business.kind, business.name, business.parent) == ("deleted", "", "01B")
    assert changed(deleted={}).quickxor == ""


def test_no_hash() -> None:
    """The all-zero hash of an empty file, and a missing one, are no hash."""
    assert changed(file={"hashes": {"quickXorHash": "AAAAAAAAAAAAAAAAAAAAAAAAAAA="}}).quickxor == ""
    assert changed(file={}).quickxor == ""
    assert changed(file={"hashes": {"sha1Hash": "AB"}}).quickxor == ""


def test_malware() -> None:
    """The facet is enough; its description may be missing."""
    assert changed(malware={}).malware
    assert not changed().malware


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1969-12-31T23:59:59.5Z", -500_000_000),
        ("2024-02-29T12:00:00.000000001Z", 1709208000_000000001),
        ("0001-01-01T00:00:00Z", 0),
        ("9999-12-31T23:59:59Z", 0),
        ("yesterday", 0),
        ("", 0),
        ("2024-13-01T00:00:00Z", 0),
    ],
)
def test_times(text: str, nanoseconds: int) -> None:
    """Nanoseconds since 1970; what is no date, or beyond what a repository can hold, counts as none."""
    assert nanoseconds == changed(fileSystemInfo={"lastModifiedDateTime": text}, lastModifiedDateTime=None).modified


def test_the_services_own_times_stand_in() -> None:
    """Where the client's times are missing, the service's are used."""
    assert changed(fileSystemInfo=None).modified == 1714636800_000000000


@pytest.mark.parametrize(
    ("said", "normal"),
    [
        ("A1B2C3D4E5F60718", "a1b2c3d4e5f60718"),
        ("1B2C3D4E5F60718", "01b2c3d4e5f60718"),
        ("1B2C3D4E5F60718!101", "01b2c3d4e5f60718!101"),
        ("A1B2C3D4E5F60718!sEA8CC6BEFFDB43D7976FBC7DA445C639", "a1b2c3d4e5f60718!sea8cc6beffdb43d7976fbc7da445c639"),
        ("b!Xy-_AbC", "b!Xy-_AbC"),
        ("b!" + "AbC0" * 16, "b!" + "AbC0" * 16),
        ("b!" + "Aa0_-" * 14, "b!" + "Aa0_-" * 14),
        ("01D6JQORV6Y2GOVW7725BZO354PWSELRRZ", "01D6JQORV6Y2GOVW7725BZO354PWSELRRZ"),
        ("", ""),
    ],
)
def test_normal_ids(said: str, normal: str) -> None:
    """Personal ids have one spelling; business ids are left as they are."""
    assert normal == normal_id(said)
    assert normal == normal_id(normal)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(sorted(FILE)) | st.text(), inner, max_size=5)
    ),
    max_leaves=12,
)


@given(JSON)
def test_nonsense_never_raises(json: object) -> None:
    """Whatever Graph sends, parsing ends with an item whose numbers can be stored."""
    item = parse_item(json)
    assert all(abs(number) < 1 << 63 for number in (item.size, item.modified, item.created))


def test_tombstones_are_asked_for() -> None:
    """Without `deleted` among the properties, tombstones would look like live items without a name."""
    assert {"deleted", "parentReference", "fileSystemInfo", "malware", "file", "size"} <= set(SELECT.split(","))
