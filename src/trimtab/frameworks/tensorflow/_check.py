"""Whether the hook points that we rely on are there in the installed TensorFlow."""

from __future__ import annotations

from importlib import import_module

import tensorflow as tf

_PACKAGE = "tensorflow.python"
_PLACES = (
    ("calls of traced functions", "eager.polymorphic_function.concrete_function", "ConcreteFunction", "_call_flat"),
    ("backward pass", "eager.backprop", "GradientTape", "gradient"),
    ("tapes set aside", "eager.record", "stop_recording", ""),
    ("hidden variables", "ops.resource_variable_ops", "ResourceVariable", ""),
    ("loops in graphs", "ops.control_flow_v2_func_graphs", "WhileBodyFuncGraph", ""),
    ("compiled graphs", "ops.control_flow_util", "GraphOrParentsInXlaContext", ""),
    ("export of models", "saved_model.save_context", "in_save_context", ""),
    ("AutoGraph's rules", "autograph.core.config", "CONVERSION_RULES", ""),
)


def check_hook_points() -> list[tuple[str, bool, str]]:
    """(name, is it there, detail) for each."""
    places = [(what, _is_there(*path), ".".join(filter(None, path))) for what, *path in _PLACES]
    return [("tensorflow", True, tf.__version__), *places]


def _is_there(module: str, name: str, attribute: str) -> bool:
    try:
        owner = getattr(import_module(f"{_PACKAGE}.{module}"), name)
    except (ImportError, AttributeError):
        return False
    return not attribute or hasattr(owner, attribute)
