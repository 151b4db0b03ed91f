"""Which activation a tensor has passed since the last weighted operation, read off its autograd graph.

Only the names of nodes and the plain numbers that they keep are looked at. Saved tensors are not: to ask for one may
run the script's own hooks, or a checkpoint's recomputation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

MAX_DEPTH = 12
MAX_NODES = 64

NONE = "none"


def _names(listed: str) -> frozenset[str]:
    return frozenset(listed.split())


# Nodes by their name without "Backward0".
_ACTIVATIONS = {
    "Relu": "relu",
    "LeakyRelu": "leaky_relu",
    "PreluKernel": "prelu",
    "RreluWithNoise": "rrelu",
    "Elu": "elu",
    "Celu": "celu",
    "Gelu": "gelu",
    "Silu": "silu",
    "Mish": "mish",
    "Hardswish": "hardswish",
    "Sigmoid": "sigmoid",
    "Hardsigmoid": "hardsigmoid",
    "LogSigmoid": "logsigmoid",
    "Tanh": "tanh",
    "Softplus": "softplus",
    "Softshrink": "softshrink",
    "Hardshrink": "hardshrink",
    "Glu": "glu",
    "Softmax": "softmax",
    "LogSoftmax": "log_softmax",
}
_WEIGHTED = _names(
    """
    Addmm Addbmm Baddbmm Addmv Linear MkldnnLinear Convolution MkldnnConvolution Embedding EmbeddingBag
    Trilinear SlowConv2D ConvDepthwise2D
    """
)
# A product with a parameter is a weighted operation; with a constant (a graph's adjacency), none.
_PRODUCTS = _names("Mm Bmm Mv Dot SparseAddmm SparseMm")
# Entries of the result are entries of the inputs.
_MOVES = _names(
    """
    View UnsafeView ReshapeAlias Permute Transpose T Expand Squeeze Unsqueeze Select Slice Index IndexSelect
    Gather Split SplitWithSizes UnsafeSplit Unbind Clone Alias AsStrided ToCopy Flip Roll Repeat Diagonal Unfold
    Im2Col PixelShuffle PixelUnshuffle MaskedSelect PackPaddedSequence Contiguous Chunk
    """
)
_JOINS = _names("Cat Stack")
_SUMS = _names("Add Sub Rsub IndexAdd ScatterAdd")
# The sign and the size of entries may change, or entries are put together; what made them stays in sight.
_CHANGES = _names(
    """
    Mul Div Neg Sum Mean Max Amax Cumsum ConstantPadNd ReflectionPad1D ReflectionPad2D ReplicationPad1D
    ReplicationPad2D MaxPool2DWithIndices MaxPool3DWithIndices AvgPool2D AvgPool3D AdaptiveAvgPool2D
    AdaptiveAvgPool3D AdaptiveMaxPool2D AdaptiveMaxPool3D NativeDropout UpsampleNearest1D UpsampleNearest2D
    UpsampleBilinear2D NativeBatchNorm CudnnBatchNorm MiopenBatchNorm SyncBatchNormFunction NativeLayerNorm
    NativeGroupNorm FusedRmsNorm
    """
)
# With a single input that has a graph, each of these leaves its activation in sight.
_PASSES_ON = _MOVES | _JOINS | _SUMS | _CHANGES | _PRODUCTS


@dataclass(frozen=True)
class Passed:
    """`name` of the activation, "none" where a weighted operation comes first, None where that can't be seen or the
    tensor is data. `unchanged`: every entry is still an output of that activation."""

    name: str | None
    unchanged: bool = False


UNSEEN = Passed(None)


def activation_passed(x: Tensor) -> Passed:
    try:
        node = x.grad_fn
    except RuntimeError:  # a view whose base was changed in a way that its graph can't tell
        return UNSEEN
    return _Walk().follow(node, MAX_DEPTH)


class _Walk:
    """Goes back from a node; visits MAX_NODES of them at most."""

    def __init__(self) -> None:
        self._left = MAX_NODES

    def follow(self, node: Any, depth: int) -> Passed:
        unchanged = True
        while node is not None and depth > 0 and self._left > 0:
            depth, self._left = depth - 1, self._left - 1
            kind = node.name().partition("Backward")[0]
            if (activation := _activation(kind, node)) is not None:
                return Passed(activation, unchanged)
            if kind in _WEIGHTED:
                return Passed(NONE)
            parents = [parent for parent, _ in node.next_functions if parent is not None]
            if kind in _PRODUCTS and any(_is_parameter(parent) for parent in parents):
                return Passed(NONE)
            branches = [parent for parent in parents if not _is_leaf(parent)]
            unchanged &= kind in _MOVES or kind in _JOINS
            if len(branches) > 1 and (kind in _SUMS or kind in _JOINS):
                return self._agreed(branches, depth, unchanged)
            if len(branches) != 1 or kind not in _PASSES_ON:
                return UNSEEN
            node = branches[0]
        return UNSEEN

    def _agreed(self, branches: list[Any], depth: int, unchanged: bool) -> Passed:
        """What all branches have passed, where that is one and the same."""
        first = self.follow(branches[0], depth)
        unchanged &= first.unchanged
        for branch in branches[1:]:
            other = self.follow(branch, depth)
            if other.name != first.name:
                return UNSEEN
            unchanged &= other.unchanged
        return Passed(first.name, unchanged)


def _activation(kind: str, node: Any) -> str | None:
    special = _BY_LIMITS.get(kind)
    return _ACTIVATIONS.get(kind) if special is None else special(node)


def _clamped(low: float | None, high: float | None) -> str:
    names = {(0, None): "relu", (0, 6): "relu6", (-1, 1): "hardtanh"}
    return names.get((low, high), "clamp")  # type: ignore[arg-type]


# Nodes whose limits, numbers that they keep, say which activation they are.
_BY_LIMITS: dict[str, Callable[[Any], str | None]] = {
    "Hardtanh": lambda node: _clamped(node._saved_min_val, node._saved_max_val),
    "Clamp": lambda node: _clamped(node._saved_min, node._saved_max) if node.name() == "ClampBackward1" else None,
    "ClampMin": lambda node: _clamped(node._saved_min, None) if node.name() == "ClampMinBackward0" else None,
    "Threshold": lambda node: "relu" if node._saved_threshold == 0 else "threshold",
}


def _is_leaf(node: Any) -> bool:
    return hasattr(node, "variable")


def _is_parameter(node: Any) -> bool:
    """A leaf, or a plain view or cast of one."""
    for _ in range(MAX_DEPTH):
        if _is_leaf(node):
            return True
        parents = [parent for parent, _ in node.next_functions if parent is not None]
        if len(parents) != 1 or node.name().partition("Backward")[0] not in _MOVES:
            return False
        node = parents[0]
    return False
