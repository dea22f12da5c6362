"""Trees: bytes as Go writes them, and the same bytes for the same items whatever the edits that led there."""

import itertools
import json
import random
from datetime import UTC, datetime
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backup_core.errors import Damaged, DrivekeepError
from backup_core.repository import go_json
from backup_core.repository.node import VALUES_MAX
from backup_core.repository.tree import (
    Node,
    Origin,
    Tree,
    decode_node,
    encode_node,
    file_node,
    folder_node,
    is_storable,
    item_key,
    top_node,
    tree_id,
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


def tree_of(*items: Facts) -> Tree:
    tree = Tree()
    for item in items:
        tree.insert(item_key(item.id), file_bytes(item), item.name)
    return tree


def stored(tree: Tree) -> bytes:
    return b"".join(tree.parts())


def names(tree: Tree) -> dict[str, str]:
    """Item id -> stored name."""
    return {node.item_id: node.name for _, node in tree.nodes()}


def by_key(*ids: str) -> list[str]:
    return sorted(ids, key=item_key)


# -- one node ------------------------------------------------------------------------------------------------------


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


# -- one folder ----------------------------------------------------------------------------------------------------


def test_an_empty_folder_is_an_empty_list() -> None:
    """restic 0.19 refuses null."""
    assert stored(Tree()) == b'{"nodes":[]}\n'
    assert len(Tree.parse(b'{"nodes":null}\n')) == 0


@pytest.mark.parametrize("count", [1, 255, 256, 257, 600])
def test_a_tree_is_one_json_list_however_many_parts_it_has(count: int) -> None:
    """Parts join into the very text, and read back they give the very parts."""
    tree = tree_of(*(Facts(f"01{n}", f"{n}") for n in range(count)))
    data = stored(tree)
    assert len(json.loads(data)["nodes"]) == count
    assert data.endswith(b"]}\n")
    again = Tree.parse(data)
    assert stored(again) == data
    assert tree_id(again.parts()) == tree_id([data])
    assert not again.changed()


def test_nodes_lie_in_the_order_of_their_bytes() -> None:
    """Order is by UTF-8 bytes of the real name, where capitals come first and emoji last."""
    order = ["B", "a", "a b", "a\nb", 'a"', "é", "\uffee", "😀"]
    shuffled = random.Random(1).sample(order, len(order))
    tree = tree_of(*(Facts(f"01{name}", name) for name in shuffled))
    assert list(names(Tree.parse(stored(tree))).values()) == sorted(order, key=str.encode)


def test_names_that_differ_in_case_are_two_names() -> None:
    """restic tells a and A apart, so both keep their name."""
    assert names(tree_of(Facts("1", "a"), Facts("2", "A"))) == {"1": "a", "2": "A"}


def test_of_two_items_with_one_name_the_lower_key_keeps_it() -> None:
    """Both are there; the other bears its id, and its true name beside it."""
    winner, loser = by_key("01X", "01Y")
    for order in ((winner, loser), (loser, winner)):
        tree = tree_of(*(Facts(each, "r.txt") for each in order))
        assert names(tree) == {winner: "r.txt", loser: f"r.txt ({loser})"}
        assert {node.true_name for _, node in Tree.parse(stored(tree)).nodes()} == {"r.txt"}


def test_when_the_winner_goes_the_loser_gets_its_name_back() -> None:
    """A contested name leaves no trace once the contest is over."""
    winner, loser = by_key("01X", "01Y")
    tree = Tree.parse(stored(tree_of(Facts(winner, "r.txt"), Facts(loser, "r.txt"))))
    tree.remove(item_key(winner))
    assert tree.changed()
    assert stored(tree) == stored(tree_of(Facts(loser, "r.txt")))


def test_a_tree_may_be_written_and_edited_on() -> None:
    """Looking at a tree in between changes nothing of what later edits lead to."""
    winner, loser = by_key("01X", "01Y")
    tree = tree_of(Facts(winner, "r.txt"), Facts(loser, "r.txt"))
    assert len(names(tree)) == 2
    tree.remove(item_key(winner))
    assert stored(tree) == stored(tree_of(Facts(loser, "r.txt")))


def test_a_loser_taken_over_into_another_folder_gets_its_name_back() -> None:
    """An encoded node may come from a tree in which another item had its name."""
    winner, loser = by_key("01X", "01Y")
    node = tree_of(Facts(winner, "r.txt"), Facts(loser, "r.txt")).encoded(item_key(loser))
    settled = Tree.parse(stored(tree_of(Facts(winner, "r.txt"), Facts(loser, "r.txt")))).encoded(item_key(loser))
    for each in (node, settled):
        assert each is not None
        tree = Tree()
        tree.insert(item_key(loser), each, "r.txt")
        assert stored(tree) == stored(tree_of(Facts(loser, "r.txt")))


def test_an_item_really_called_like_a_loser_keeps_its_name() -> None:
    """Claims come first: a loser finds yet another name."""
    winner, loser = by_key("01X", "01Y")
    tree = tree_of(Facts(winner, "r"), Facts(loser, "r"), Facts("01Z", f"r ({loser})"))
    assert names(tree) == {winner: "r", loser: f"r ({loser}) 1", "01Z": f"r ({loser})"}


def test_swapped_names_are_no_contest() -> None:
    """Two files that exchanged their names are just two edits, in any order."""
    tree = Tree.parse(stored(tree_of(Facts("1", "a"), Facts("2", "b"))))
    tree.insert(item_key("1"), file_bytes(Facts("1", "b")), "b")
    tree.insert(item_key("2"), file_bytes(Facts("2", "a")), "a")
    assert stored(tree) == stored(tree_of(Facts("1", "b"), Facts("2", "a")))


def test_writing_the_same_again_is_no_change() -> None:
    """A folder whose items are taken out and put back as they were keeps its id, contested names included."""
    items = [Facts("1", "a"), Facts("2", "a"), Facts("3", "b/c")]
    tree = Tree.parse(stored(tree_of(*items)))
    for item in items:
        tree.remove(item_key(item.id))
    assert tree.changed()
    for item in items:
        tree.insert(item_key(item.id), file_bytes(item), item.name)
    assert not tree.changed()


def test_a_folder_takes_a_new_subtree() -> None:
    """Only the subtree changes, and only where it is another one."""
    tree = Tree()
    tree.insert(item_key("1"), folder_node(Facts("1", "f"), SUBTREE), "f")
    tree = Tree.parse(stored(tree))
    tree.set_subtree(item_key("1"), SUBTREE)
    assert not tree.changed()
    tree.set_subtree(item_key("1"), "6" * 64)
    assert tree.changed()
    assert tree.encoded(item_key("1")) == folder_node(Facts("1", "f"), "6" * 64)


def test_nodes_of_stock_restic_are_kept_and_listed() -> None:
    """They keep name and place, and an item of the same name gives way."""
    foreign = [encode_node(Node(quoted=each, type="file", inode=7, content=[])) for each in (r"\xff", "b", "b", "z")]
    tree = Tree.parse(b'{"nodes":[' + b",".join(foreign) + b"]}\n")
    tree.insert(item_key("1"), file_bytes(Facts("1", "b")), "b")
    assert len(tree) == 5
    assert [(key, node.name) for key, node in Tree.parse(stored(tree)).nodes()] == [
        (None, "b"),
        (None, "b"),
        (item_key("1"), "b (1)"),
        (None, "z"),
        (None, "\udcff"),
    ]
    assert all(each in stored(tree) for each in foreign)


def test_a_second_node_of_one_item_is_not_lost() -> None:
    """A tree that somebody put together from two is kept whole; the first node is the item's."""
    one, two = file_bytes(Facts("1", "a")), file_bytes(Facts("1", "b"))
    tree = Tree.parse(b'{"nodes":[' + one + b"," + two + b"]}\n")
    found = tree.find(item_key("1"))
    assert found is not None
    assert found.name == "a"
    assert stored(tree).count(b'"type":"file"') == 2


@pytest.mark.parametrize(
    "data", [b"", b"{}", b'{"nodes":[{}]}', b'{"nodes":[{"name":1}]}', b'{"nodes":[{"name":"a"', b"\xff"]
)
def test_what_is_no_tree_is_damage(data: bytes) -> None:
    """A broken list is never taken for an empty folder."""
    with pytest.raises(Damaged):
        Tree.parse(data)


def test_a_broken_node_is_damage_when_it_is_looked_at() -> None:
    """Nodes are decoded late; what is wrong in one still ends in the same error."""
    tree = Tree.parse(
        b'{"nodes":[{"name":"a","type":7,"extended_attributes":[{"name":"user.drivekeep.id","value":"MDE="}]}]}'
    )
    with pytest.raises(Damaged):
        tree.find(item_key("01"))
    with pytest.raises(Damaged):
        list(tree.nodes())


# Few ids and few names, so that names are claimed twice and thrice; hostile ones among them.
IDS = st.sampled_from([f"01{n}" for n in range(8)])
NAMES = st.sampled_from(
    ["a", "b", "A", "a/b", "a_b", "", "_", "é" * 200, "é" * 200 + "x", *(f"a (01{n})" for n in range(8))]
)
EDITS = st.lists(st.tuples(IDS, st.one_of(st.none(), NAMES), st.integers(0, 2), st.booleans()), max_size=30)


@given(EDITS)
def test_same_items_same_bytes_whatever_the_way(edits) -> None:
    """After any edits, with or without writing and reading in between, the tree is the one built from scratch."""
    tree, model = Tree(), {}
    for item_id, name, size, reload in edits:
        before, key = stored(tree), item_key(item_id)
        if reload:
            tree = Tree.parse(before)
        if name is None:
            tree.remove(key)
            model.pop(item_id, None)
        else:
            model[item_id] = Facts(item_id, name, size)
            tree.insert(key, file_bytes(model[item_id]), name)
        assert not reload or tree.changed() == (stored(tree) != before)
    expected = tree_of(*model.values())
    assert stored(tree) == stored(expected)
    assert {node.item_id: node.true_name for _, node in tree.nodes()} == {each.id: each.name for each in model.values()}
    listed = [node.name for _, node in tree.nodes()]
    assert len(set(listed)) == len(model)
    assert listed == sorted(listed, key=str.encode)


@given(st.permutations([Facts(f"01{n}", name) for n, name in enumerate(["a", "a", "a", "a (010)", "a/b", "a_b"])]))
def test_the_order_of_inserts_does_not_matter(items: list[Facts]) -> None:
    """Who loses a contested name is decided by keys alone."""
    assert stored(tree_of(*items)) == stored(tree_of(*sorted(items)))


class Drive:
    """Folders as stored trees, changed step by step; `model` is the truth that they must show."""

    def __init__(self) -> None:
        self.model: dict[str, tuple[str, str, bool, int]] = {}  # id -> parent, name, folder?, version
        self.stored: dict[str, bytes] = {"root": stored(Tree())}

    def change(self, item_id: str, target: tuple[str, str, bool, int] | None) -> None:
        """One item's old place and new place are edited, then the way up from both."""
        old, touched = self.model.pop(item_id, None), []
        if old is not None:
            touched.append(old[0])
            tree = Tree.parse(self.stored[old[0]])
            tree.remove(item_key(item_id))
            self.stored[old[0]] = stored(tree)
        if target is not None:
            parent, name, folder, _ = self.model[item_id] = target
            touched.append(parent)
            if folder:
                self.stored.setdefault(item_id, stored(Tree()))
            tree = Tree.parse(self.stored[parent])
            tree.insert(item_key(item_id), self.node(item_id, lambda child: tree_id([self.stored[child]])), name)
            self.stored[parent] = stored(tree)
        for folder_id in touched:
            self.write_up(folder_id)

    def write_up(self, folder_id: str) -> None:
        while folder_id in self.model:
            parent = self.model[folder_id][0]
            tree = Tree.parse(self.stored[parent])
            tree.set_subtree(item_key(folder_id), tree_id([self.stored[folder_id]]))
            self.stored[parent] = stored(tree)
            folder_id = parent

    def node(self, item_id: str, subtree) -> bytes:
        _, name, folder, version = self.model[item_id]
        item = Facts(item_id, name, version)
        return folder_node(item, subtree(item_id)) if folder else file_bytes(item)

    def from_scratch(self, folder_id: str = "root") -> str:
        tree = Tree()
        for item_id, (parent, name, _, _) in self.model.items():
            if parent == folder_id:
                tree.insert(item_key(item_id), self.node(item_id, self.from_scratch), name)
        return tree_id(tree.parts())

    def inside(self, item_id: str, folder_id: str) -> bool:
        while item_id != folder_id and item_id in self.model:
            item_id = self.model[item_id][0]
        return item_id == folder_id

    def empty(self, folder_id: str) -> bool:
        return all(parent != folder_id for parent, _, _, _ in self.model.values())


@given(st.randoms(use_true_random=False))
def test_a_drive_changed_step_by_step_has_the_trees_of_one_built_from_scratch(pick: random.Random) -> None:
    """Adds, edits, renames, moves of files and folders, deletes: the root's id is that of the drive as it is."""
    drive = Drive()
    for step in range(60):
        folders = ["root", *(each for each, facts in drive.model.items() if facts[2])]
        known = [*drive.model]
        item_id = pick.choice(known) if known and pick.random() < 0.6 else f"01{step}"
        folder = drive.model[item_id][2] if item_id in drive.model else pick.random() < 0.4
        parent = pick.choice([each for each in folders if not drive.inside(each, item_id)])
        if item_id in drive.model and pick.random() < 0.25 and drive.empty(item_id):
            drive.change(item_id, None)
        else:
            drive.change(item_id, (parent, pick.choice(["a", "b", "c/d", "c_d", "A"]), folder, pick.randrange(3)))
        assert tree_id([drive.stored["root"]]) == drive.from_scratch()


def test_two_losers_that_want_one_name_settle_it_by_their_keys() -> None:
    """Ids made to measure by a hostile server lead to no other bytes in another order."""
    one, two = Facts("1) (2", "a"), Facts("2", "a (1)")  # both would become "a (1) (2)"
    ids = [f"01{n}" for n in range(100)]
    lower = min(ids, key=item_key)
    items = [one, two, Facts(lower, "a"), Facts(min(set(ids) - {lower}, key=item_key), "a (1)")]
    trees = {stored(tree_of(*order)) for order in itertools.permutations(items)}
    assert len(trees) == 1
    assert sorted(names(Tree.parse(trees.pop())).values()) == ["a", "a (1)", "a (1) (2)", "a (1) (2) 1"]
