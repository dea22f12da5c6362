"""Trees: the same bytes for the same items, whatever the edits that led there."""

import itertools
import json
import random
from datetime import UTC, datetime
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backup_core.errors import Damaged
from backup_core.repository.tree import (
    Node,
    Tree,
    encode_node,
    file_node,
    folder_node,
    item_key,
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
