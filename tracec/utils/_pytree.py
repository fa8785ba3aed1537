"""Nested containers as trees: flattened to leaves and structure, and built again.

Lists, tuples, named tuples, dictionaries of the usual kinds and deques are containers, and classes that
`register_pytree_node` enters; everything else, None among it, is a leaf.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tracec.errors import ArgumentError

#: From a container to its children and what else it takes to build it again.
Flatten = Callable[[Any], tuple[Iterable[Any], Any]]
#: From children and that context to a container.
Unflatten = Callable[[Iterable[Any], Any], Any]

_dicts: tuple[Flatten, Unflatten] = (
    lambda d: (list(d.values()), list(d)),
    lambda children, keys: dict(zip(keys, children, strict=True)),
)

_NODES: dict[type, tuple[Flatten, Unflatten]] = {
    list: (lambda x: (x, None), lambda children, _: list(children)),
    tuple: (lambda x: (x, None), lambda children, _: tuple(children)),
    dict: _dicts,
    OrderedDict: (_dicts[0], lambda children, keys: OrderedDict(zip(keys, children, strict=True))),
    defaultdict: (
        lambda d: (list(d.values()), (d.default_factory, list(d))),
        lambda children, context: defaultdict(context[0], zip(context[1], children, strict=True)),
    ),
    deque: (lambda x: (list(x), x.maxlen), lambda children, most: deque(children, most)),
}
_NAMED: tuple[Flatten, Unflatten] = (lambda x: (x, type(x)), lambda children, cls: cls(*children))


@dataclass(frozen=True)
class TreeSpec:
    """The structure of a tree.

    Attributes:
        type: Class of the container; None for a leaf.
        context: What it takes to build it again, beside the children.
        children_specs: Structures of the children.
    """

    type: type | None
    context: Any
    children_specs: tuple[TreeSpec, ...]

    @property
    def num_leaves(self) -> int:
        """Number of leaves."""
        return 1 if self.type is None else sum(c.num_leaves for c in self.children_specs)

    def is_leaf(self) -> bool:
        """Whether it is a leaf's."""
        return self.type is None

    def unflatten(self, leaves: Iterable[Any]) -> Any:
        """The tree of this structure with those leaves."""
        return tree_unflatten(leaves, self)

    def __repr__(self) -> str:
        if self.type is None:
            return "*"
        return f"TreeSpec({self.type.__name__}, {self.context}, [{', '.join(map(repr, self.children_specs))}])"


_LEAF = TreeSpec(None, None, ())


def register_pytree_node(cls: type, flatten_fn: Flatten, unflatten_fn: Unflatten, **_: Any) -> None:
    """Make instances of a class containers.

    Args:
        cls: The class.
        flatten_fn: From an instance to its children and a context.
        unflatten_fn: From children and context to an instance.
        **_: PyTorch's arguments for serialisation, which is not done here.
    """
    _NODES[cls] = flatten_fn, unflatten_fn


def _kind(tree: Any) -> tuple[Flatten, Unflatten] | None:
    found = _NODES.get(tree.__class__)  # what stands in for a list says that it is one
    if found is None and isinstance(tree, tuple):
        return _NAMED if hasattr(tree, "_fields") else _NODES[tuple]
    return found


def tree_flatten(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> tuple[list[Any], TreeSpec]:
    """The leaves of a tree, in order, and its structure.

    Args:
        tree: The tree.
        is_leaf: What counts as a leaf besides.
    """
    leaves: list[Any] = []
    return leaves, _walk(tree, is_leaf, leaves)


# No function within another: one that calls itself keeps its cells, and tensors in them, alive in a cycle.
def _walk(at: Any, is_leaf: Callable[[Any], bool] | None, leaves: list[Any]) -> TreeSpec:
    kind = None if is_leaf is not None and is_leaf(at) else _kind(at)
    if kind is None:
        leaves.append(at)
        return _LEAF
    children, context = kind[0](at)
    cls = tuple if at.__class__ not in _NODES and not hasattr(at, "_fields") else at.__class__
    return TreeSpec(cls, context, tuple([_walk(child, is_leaf, leaves) for child in children]))


def tree_unflatten(leaves: Iterable[Any], treespec: TreeSpec) -> Any:
    """The tree of a structure with those leaves.

    Raises:
        ArgumentError: there are more or fewer leaves than the structure has.
    """
    given = list(leaves)
    if len(given) != treespec.num_leaves:
        raise ArgumentError(
            f"tree_unflatten: {len(given)} leaves given, the structure has {treespec.num_leaves}",
            hint="give one leaf for each of the structure",
        )
    return _build(treespec, iter(given))


def _build(spec: TreeSpec, leaves: Iterator[Any]) -> Any:
    if spec.type is None:
        return next(leaves)
    kind = _NODES.get(spec.type, _NAMED)
    return kind[1]([_build(c, leaves) for c in spec.children_specs], spec.context)


def tree_map(func: Callable[..., Any], tree: Any, *rests: Any, is_leaf: Callable[[Any], bool] | None = None) -> Any:
    """The tree with a function of each leaf, and of the leaves at the same place of other trees, in its place."""
    leaves, spec = tree_flatten(tree, is_leaf)
    others = [tree_flatten(rest, is_leaf)[0] for rest in rests]
    return tree_unflatten([func(*each) for each in zip(leaves, *others, strict=True)], spec)


def tree_map_(func: Callable[..., Any], tree: Any, *rests: Any) -> Any:
    """Call a function of each leaf for its effect; the tree."""
    tree_map(func, tree, *rests)
    return tree


def tree_map_only(
    type_or_types: Any, func: Callable[[Any], Any], tree: Any, is_leaf: Callable[[Any], bool] | None = None
) -> Any:
    """`tree_map` of the leaves that are instances of some types; the others stay."""
    return tree_map(lambda x: func(x) if isinstance(x, type_or_types) else x, tree, is_leaf=is_leaf)


def tree_leaves(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> list[Any]:
    """The leaves of a tree, in order."""
    return tree_flatten(tree, is_leaf)[0]


def tree_structure(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> TreeSpec:
    """The structure of a tree."""
    return tree_flatten(tree, is_leaf)[1]


def tree_all(pred: Callable[[Any], bool], tree: Any) -> bool:
    """Whether something holds of every leaf."""
    return all(map(pred, tree_leaves(tree)))


def tree_any(pred: Callable[[Any], bool], tree: Any) -> bool:
    """Whether something holds of a leaf."""
    return any(map(pred, tree_leaves(tree)))


def broadcast_to_leaves(prefix: Any, spec: TreeSpec) -> Sequence[Any] | None:
    """For each leaf of a structure what a tree over it, which may stop early, says of it; None where it does not fit.

    Args:
        prefix: A tree of lists, tuples and dictionaries, a leaf of which speaks of all that lies below its place.
        spec: The structure.
    """
    kind = _kind(prefix)
    if spec.type is None or kind is None:
        return None if spec.type is None and kind is not None else [prefix] * spec.num_leaves
    children, context = kind[0](prefix)
    own = spec.type in (list, tuple) and isinstance(prefix, (list, tuple))
    if not own and (type(prefix) is not spec.type or context != spec.context):
        return None
    children = list(children)
    if len(children) != len(spec.children_specs):
        return None
    found: list[Any] = []
    for child, below in zip(children, spec.children_specs, strict=True):
        part = broadcast_to_leaves(child, below)
        if part is None:
            return None
        found += part
    return found
