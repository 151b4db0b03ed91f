"""TensorFlow: the pass as a graph of its own, and the loss's gradient by each output from a tape that watches it."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Any

import tensorflow as tf

from ._probe_graph import CHANGE, JOIN, MOVE, OTHER, PRODUCT, SUM, Graph, Node
from ._probe_pass import Forward, Found, Given, NotRepeatableError

_PRODUCTS = """
    MatMul BatchMatMul BatchMatMulV2 BatchMatMulV3 Conv2D Conv3D Conv2DBackpropInput Conv3DBackpropInputV2
    DepthwiseConv2dNative Einsum
"""
_MOVES = """
    Reshape Transpose ExpandDims Squeeze StridedSlice Slice Identity IdentityN Cast GatherV2 Tile BroadcastTo Split
    SplitV Unpack ReverseV2 StopGradient
"""
_CHANGES = """
    Mul RealDiv Div Neg Sum Mean Max Min MaxPool MaxPoolV2 MaxPool3D AvgPool AvgPool3D Pad PadV2 MirrorPad SelectV2
    Cumsum FusedBatchNormV3 ResizeBilinear ResizeNearestNeighbor
"""
_KINDS = {
    **dict.fromkeys(_PRODUCTS.split(), PRODUCT),
    **dict.fromkeys(("Add", "AddV2", "AddN", "Sub", "BiasAdd"), SUM),
    **dict.fromkeys(_MOVES.split(), MOVE),
    **dict.fromkeys(_CHANGES.split(), CHANGE),
    **dict.fromkeys(("ConcatV2", "Pack"), JOIN),
    "Relu": "relu",
    "Relu6": "relu6",
    "LeakyRelu": "leaky_relu",
    "Elu": "elu",
    "Selu": "selu",
    "Sigmoid": "sigmoid",
    "Tanh": "tanh",
    "Softplus": "softplus",
    "Softsign": "softsign",
    "Softmax": "softmax",
    "LogSoftmax": "log_softmax",
}
# Operations that write something, or run Python: a pass that has one is not repeated.
_WRITING = ("Assign", "Print", "PyFunc", "EagerPyFunc", "ResourceScatter", "ResourceApply", "Rng", "StatefulUniform")
_WRITING_TOO = ("StatefulStandardNormal", "StatefulTruncatedNormal", "StatefulRandomBinomial", "Summary", "Write")


class TensorFlowPass:
    def __init__(self, forward: Forward, given: Given) -> None:
        self._forward: Any = forward
        self.found = Found((), (), 0)
        specs = tf.nest.map_structure(lambda x: None if x is None else tf.TensorSpec.from_tensor(x), given)
        self._concrete = tf.function(self._traced, autograph=False).get_concrete_function(specs)
        if any(op.startswith((*_WRITING, *_WRITING_TOO)) for op in _operations(self._concrete.graph)):
            raise NotRepeatableError("its forward pass has effects outside of itself")
        self._compiled: Any = None

    def compile(self, given: Given) -> None:
        """It is a graph already."""
        self._forward = None  # it holds the model

    def run(self, given: Given) -> Any:
        try:
            found = self._concrete(given)
        except tf.errors.InvalidArgumentError:
            found = self._as_compiled(given)
        return tf.nest.map_structure(_numpy, found)

    def _as_compiled(self, given: Given) -> Any:
        """XLA refuses no value: a label of no class, which an operation refuses on a CPU, is a NaN to it. A training
        that it compiles goes on."""
        if self._compiled is None:
            self._compiled = tf.function(self._concrete, autograph=False, jit_compile=True)
        return self._compiled(given)

    def _traced(self, given: Given) -> Any:
        graph = tf.compat.v1.get_default_graph()
        with tf.GradientTape(watch_accessed_variables=False) as tape:

            def watched(_: int, y: Any) -> Any:
                tape.watch(y)
                return y

            loss, calls = self._forward(given, tf.compat.v1.get_default_graph, watched)
        parameters = frozenset(value.name for value in given.values[: self._forward.trainable])
        self.found = Found.of(calls, Graph(_nodes(graph), parameters), _key)
        tensors = self.found.tensors(calls)
        if loss is None:
            return tensors, None
        gradients = tape.gradient(loss, tensors[0])
        return tensors, [None if g is None else tf.convert_to_tensor(g) for g in gradients]


def _nodes(graph: Any) -> dict[Hashable, Node]:
    return {
        out.name: Node(_KINDS.get(op.type, OTHER), [tensor.name for tensor in op.inputs])
        for op in graph.get_operations()
        for out in op.outputs
    }


def _key(tensor: Any) -> Hashable:
    return ("eager", id(tensor)) if hasattr(tensor, "numpy") else str(tensor.name)


def _operations(graph: Any) -> Iterable[str]:
    """Types of all operations, with those of the functions that are called."""
    definition = graph.as_graph_def()
    functions = (node for function in definition.library.function for node in function.node_def)
    return (node.op for node in (*definition.node, *functions))


def _numpy(x: Any) -> Any:
    return None if x is None else x.numpy()
