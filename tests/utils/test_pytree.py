"""Trees: flattened and built again, as PyTorch's are."""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque, namedtuple

import pytest

from tracec.errors import ArgumentError
from tracec.utils import _pytree as pytree
from tracec.utils.checkpoint import tree_map

Point = namedtuple("Point", ["x", "y"])


class Pair:
    def __init__(self, a, b):
        self.a, self.b = a, b


TREES = [
    1,
    None,
    [],
    (),
    {},
    [1, (2, [3, None]), {"b": 4, "a": (5,)}],
    Point(1, [2, Point(3, 4)]),
    OrderedDict([("z", 1), ("a", [2])]),
    deque([1, (2, 3)], maxlen=4),
]


@pytest.mark.parametrize("tree", TREES, ids=repr)
def test_round_trip(tree):
    leaves, spec = pytree.tree_flatten(tree)
    again = pytree.tree_unflatten(leaves, spec)
    assert again == tree and type(again) is type(tree) and spec.num_leaves == len(leaves)
    assert pytree.tree_structure(again) == spec and pytree.tree_leaves(again) == leaves


@pytest.mark.parametrize("tree", TREES, ids=repr)
def test_as_pytorch(tree):
    theirs = pytest.importorskip("torch").utils._pytree
    assert pytree.tree_leaves(tree) == theirs.tree_leaves(tree)
    assert pytree.tree_map(str, tree) == theirs.tree_map(str, tree)


def test_maps():
    assert pytree.tree_map(lambda a, b: a + b, {"p": [1, 2]}, {"p": [10, 20]}) == {"p": [11, 22]}
    assert pytree.tree_map(len, [[1, 2], [3]], is_leaf=lambda x: isinstance(x, list) and x and x[0] in (1, 3)) == [2, 1]
    assert pytree.tree_map_only(int, lambda v: -v, [1, "a", (2.0, 3)]) == [-1, "a", (2.0, -3)]
    seen = []
    assert pytree.tree_map_(seen.append, (1, [2])) == (1, [2]) and seen == [1, 2]
    assert pytree.tree_all(bool, [1, [2]]) and not pytree.tree_all(bool, [1, 0]) and pytree.tree_any(bool, (0, [1]))
    assert tree_map is pytree.tree_map
    made = pytree.tree_map(lambda v: v + 1, defaultdict(list, a=1))
    assert made == {"a": 2} and made["new"] == []


def test_classes_of_ones_own():
    assert pytree.tree_leaves(Pair(1, 2))[0].a == 1
    pytree.register_pytree_node(Pair, lambda p: ([p.a, p.b], None), lambda children, _: Pair(*children))
    try:
        made = pytree.tree_map(lambda v: v * 2, [Pair(1, (2, 3))])
        assert (made[0].a, made[0].b) == (2, (4, 6))
    finally:
        del pytree._NODES[Pair]


def test_structures():
    spec = pytree.tree_structure([1, {"a": 2}])
    assert repr(spec) == "TreeSpec(list, None, [*, TreeSpec(dict, ['a'], [*])])"
    assert spec != pytree.tree_structure([1, {"b": 2}]) and not spec.is_leaf()
    assert spec.unflatten([5, 6]) == [5, {"a": 6}]
    with pytest.raises(ArgumentError, match="1 leaves given, the structure has 2"):
        pytree.tree_unflatten([1], spec)
    for prefix, found in ((0, [0, 0]), ([0, 1], [0, 1]), ([0, {"a": 3}], [0, 3]), ([0], None), ([0, {"b": 3}], None)):
        assert pytree.broadcast_to_leaves(prefix, spec) == found
