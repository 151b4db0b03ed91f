"""Which activation a tensor has passed since the last weighted operation, read off the graph of a traced forward pass.

The frameworks' graphs come here in a common form. The rules are those of `frameworks/torch/_passed.py`, where the graph
is autograd's.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

MAX_DEPTH = 24
MAX_NODES = 128
NONE = "none"

#: Kinds of nodes beside the activations, which are named as in the column in_after.
WEIGHTED, PRODUCT, MOVE, JOIN, SUM, CHANGE, OTHER = "weighted", "product", "move", "join", "sum", "change", "other"
_PASSES_ON = (PRODUCT, MOVE, JOIN, SUM, CHANGE)
_OPERATIONS = (WEIGHTED, OTHER, *_PASSES_ON)


class Node(NamedTuple):
    kind: str
    inputs: Sequence[Hashable]


class Passed(NamedTuple):
    """`name` of the activation, "none" where a weighted operation comes first, None where that can't be seen or the
    tensor is data. `unchanged`: every entry is still an output of that activation."""

    name: str | None
    unchanged: bool = False


UNSEEN = Passed(None)


@dataclass
class Graph:
    """Tensors, by keys of the framework's own, and what made them; `nodes` in the order of their making.

    `parameters` are the trainable weights: what does not come of any of them is data.
    """

    nodes: dict[Hashable, Node]
    parameters: frozenset[Hashable]
    _learned: set[Hashable] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._learned = set(self.parameters)
        for key, node in self.nodes.items():
            if any(i in self._learned for i in node.inputs):
                self._learned.add(key)

    def is_learned(self, key: Hashable) -> bool:
        """It depends on a trainable weight."""
        return key in self._learned

    def know(self, known: Iterable[tuple[Hashable, str, Hashable]]) -> None:
        """Of (result, kind, input): that a layer made the one of the other, in whatever operations."""
        for result, kind, given in known:
            if result != given:
                self.nodes[result] = Node(kind, (given,))

    def passed(self, key: Hashable) -> Passed:
        return _Walk(self.nodes, self._learned, self.parameters).follow(key, MAX_DEPTH)


class _Walk:
    """Goes back from a tensor; visits MAX_NODES of them at most."""

    def __init__(self, nodes: Mapping[Hashable, Node], learned: set[Hashable], parameters: frozenset[Hashable]) -> None:
        self._nodes, self._learned, self._parameters = nodes, learned, parameters
        self._left = MAX_NODES

    def follow(self, key: Hashable, depth: int) -> Passed:
        unchanged = True
        while key in self._nodes and depth > 0 and self._left > 0:
            depth, self._left = depth - 1, self._left - 1
            kind, inputs = self._nodes[key]
            if kind == WEIGHTED:
                return Passed(NONE)
            branches = list(dict.fromkeys(i for i in inputs if i in self._learned and not self._is_parameter(i)))
            if kind not in _OPERATIONS:
                return Passed(kind, unchanged) if branches else UNSEEN
            if kind == PRODUCT and any(self._is_parameter(i) for i in inputs):
                return Passed(NONE)
            unchanged &= kind in (MOVE, JOIN)
            if len(branches) > 1 and kind in (SUM, JOIN):
                return self._agreed(branches, depth, unchanged)
            if len(branches) != 1 or kind not in _PASSES_ON:
                return UNSEEN
            key = branches[0]
        return UNSEEN

    def _agreed(self, branches: list[Hashable], depth: int, unchanged: bool) -> Passed:
        """What all branches have passed, where that is one and the same."""
        found = [self.follow(branch, depth) for branch in branches]
        if len({passed.name for passed in found}) > 1:
            return UNSEEN
        return Passed(found[0].name, unchanged and all(passed.unchanged for passed in found))

    def _is_parameter(self, key: Hashable) -> bool:
        """A weight, or a plain view or cast of one."""
        for _ in range(MAX_DEPTH):
            if key in self._parameters:
                return True
            node = self._nodes.get(key)
            if node is None or node.kind != MOVE or len(node.inputs) != 1:
                return False
            key = node.inputs[0]
        return False
