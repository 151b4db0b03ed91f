"""TensorFlow's internals that we rely on, in one place; `check` tries them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tensorflow.compiler.tf2xla.python import xla
from tensorflow.python.autograph.core import config as autograph
from tensorflow.python.eager import context
from tensorflow.python.eager.backprop import GradientTape
from tensorflow.python.eager.polymorphic_function.concrete_function import ConcreteFunction
from tensorflow.python.eager.record import stop_recording
from tensorflow.python.framework import ops
from tensorflow.python.ops import control_flow_util
from tensorflow.python.ops.control_flow_v2_func_graphs import WhileBodyFuncGraph
from tensorflow.python.ops.resource_variable_ops import ResourceVariable
from tensorflow.python.saved_model import save_context

from .._patches import Patches

__all__ = ("ConcreteFunction", "GradientTape", "stop_recording")


def leave_unconverted(patches: Patches, package: str) -> None:
    """Have AutoGraph, which rewrites what a traced function calls, leave the functions of `package` as they are."""
    patches.replace(autograph, "CONVERSION_RULES", (autograph.DoNotConvert(package), *autograph.CONVERSION_RULES))


def hidden_variable(value: Any, dtype: Any) -> Any:
    """A variable outside of the trace that is under way, of which neither that trace nor a tf.distribute strategy
    learns: a function that is seen to make a variable is traced twice, and must not do so again."""
    with ops.init_scope():
        return ResourceVariable(value, trainable=False, dtype=dtype, name="trimtab")


def is_eager() -> bool:
    return bool(context.executing_eagerly())


def is_tensorflow_1() -> bool:
    """Eager execution is disabled for good: graphs are run by sessions."""
    return not ops.executing_eagerly_outside_functions()


def is_exporting() -> bool:
    """What is traced now goes into a SavedModel."""
    return bool(save_context.in_save_context())


def current_graph() -> Any:
    """The graph that is being traced."""
    return ops.get_default_graph()


def is_xla() -> bool:
    """What is traced now is compiled as a whole, so that it cannot call Python."""
    return bool(control_flow_util.GraphOrParentsInXlaContext(current_graph()))


def barrier(tensors: list[Any]) -> list[Any]:
    """The same values, across which XLA moves and joins nothing."""
    return list(xla.optimization_barrier(*tensors))


def enclosing_graphs(graph: Any) -> Iterator[Any]:
    """`graph`, and those in whose tracing it is traced: functions, branches, bodies of loops."""
    while graph is not None and graph.building_function:
        yield graph
        graph = graph.outer_graph


def is_loop_body(graph: Any) -> bool:
    return isinstance(graph, WhileBodyFuncGraph)


def is_in_loop(graph: Any) -> bool:
    """`graph` is executed again and again within one call from the host, as far as can be seen."""
    return any(map(is_loop_body, enclosing_graphs(graph)))
