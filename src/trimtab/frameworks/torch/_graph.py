"""Reads the autograd graph of a loss: its constant factor, and the operation where a non-finite value arose."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

# Operations whose result is not finite only where their input was not.
_ACTIVATIONS = ("relu", "leakyrelu", "gelu", "silu", "tanh", "sigmoid", "threshold", "hardtanh", "elu", "nativedropout")
_VIEWS = ("t", "view", "unsafeview", "reshapealias", "permute", "transpose", "expand", "squeeze", "unsqueeze")
_PASSES_ON = frozenset((*_ACTIVATIONS, *_VIEWS, "cat", "select", "slice", "clone"))
# Where a saved input stands among the inputs of its operation.
_PLACE = {"_saved_mat1": 1, "_saved_input": 0, "_saved_self": 0, "_saved_target": 1, "_saved_other": 1}
MAX_NODES = 50_000
_MEAN = 1
_SCALING = ("DivBackward0", "MulBackward0")

# Operation -> what of its saved input lies outside (or on the edge of) its domain.
_HAZARDS: dict[str, tuple[str, Callable[[Tensor], Tensor], str]] = {
    "LogBackward0": ("_saved_self", lambda x: x <= 0, "log of a value that is not positive"),
    "Log2Backward0": ("_saved_self", lambda x: x <= 0, "log2 of a value that is not positive"),
    "Log10Backward0": ("_saved_self", lambda x: x <= 0, "log10 of a value that is not positive"),
    "Log1PBackward0": ("_saved_self", lambda x: x <= -1, "log1p of a value that is not above -1"),
    "SqrtBackward0": ("_saved_result", lambda y: ~(y > 0), "square root at zero or below, where its slope is infinite"),
    "RsqrtBackward0": ("_saved_result", lambda y: ~torch.isfinite(y), "1/sqrt of a value that is not positive"),
    "ReciprocalBackward0": ("_saved_result", lambda y: ~torch.isfinite(y), "1/0"),
    "DivBackward0": ("_saved_other", lambda x: x == 0, "division by zero"),
    "ExpBackward0": ("_saved_result", lambda y: torch.isinf(y), "exp beyond the range of its number format"),
    "AcosBackward0": ("_saved_self", lambda x: x.abs() >= 1, "acos at or beyond 1, where its slope is infinite"),
    "AsinBackward0": ("_saved_self", lambda x: x.abs() >= 1, "asin at or beyond 1, where its slope is infinite"),
    "LinalgVectorNormBackward0": ("_saved_result", lambda y: y == 0, "norm of a zero vector"),
}


def constant_divisor(node: Any) -> float:
    """k where `node` is (a mean-reduced loss) / k or · 1/k, as gradient accumulation writes it; else 1.

    A sum divided by a count is a mean, not an accumulation: it is left alone.
    """
    if node is None:
        return 1.0
    name = node.name()
    if name not in _SCALING:
        return 1.0
    loss = node.next_functions[0][0]
    if loss is None or getattr(loss, "_saved_reduction", None) != _MEAN:
        return 1.0
    other = node._saved_other
    if not isinstance(other, Tensor) or other.dim() or other.device.type != "cpu":
        return 1.0
    factor = float(other)
    if not math.isfinite(factor) or factor == 0:
        return 1.0
    return factor if name == "DivBackward0" else 1.0 / factor


def first_nonfinite(root: Tensor, names: dict[int, str]) -> dict[str, Any] | None:
    """The earliest operation of the forward pass whose saved tensors are outside its domain or not finite.

    `names` gives parameters' names by id. Returns {"op", "what", "tensor", "input"}: the operation,
    what is wrong with it, the parameter used last before it, range of the values in question.
    Must be called before the backward pass, which frees what it looks at.
    """
    layer: str | None = None
    for node in forward_order(root):
        layer = next((names[i] for i in _leaves(node) if i in names), layer)
        if (found := hazard_of(node)) is not None:
            return {"op": _plain(node.name()), "tensor": layer, **found}
        if (found := _nonfinite_data(node)) is not None:
            return {"op": _plain(node.name()), "tensor": layer, **found}
        if (found := _nonfinite_saved(node)) is not None:
            return {"op": _plain(_maker(node, found.pop("made_here")).name()), "tensor": layer, **found}
    return None


def first_hazard(root: Tensor, names: dict[int, str]) -> dict[str, Any] | None:
    """The earliest operation at the edge of its domain, where the backward pass may turn non-finite."""
    layer: str | None = None
    for node in forward_order(root):
        layer = next((names[i] for i in _leaves(node) if i in names), layer)
        if (found := hazard_of(node)) is not None:
            return {"op": _plain(node.name()), "tensor": layer, **found}
    return None


def forward_order(root: Tensor) -> list[Any]:
    """The nodes of the graph in the order in which the forward pass made them."""
    start = root.grad_fn
    if start is None:
        return []
    seen = {start}
    stack: list[Any] = [start]
    while stack and len(seen) < MAX_NODES:
        for parent, _ in stack.pop().next_functions:
            if parent is not None and parent not in seen:
                seen.add(parent)
                stack.append(parent)
    nodes = [node for node in seen if hasattr(node, "_sequence_nr") and not hasattr(node, "variable")]
    return sorted(nodes, key=lambda node: node._sequence_nr())


def hazard_of(node: Any) -> dict[str, Any] | None:
    hazard = _HAZARDS.get(node.name())
    if hazard is None:
        return None
    attribute, outside, what = hazard
    saved = _saved(node, attribute)
    if saved is None or not saved.is_floating_point() or not bool(outside(saved).any()):
        return None
    return {"what": what, "input": _range(saved)}


def _nonfinite_data(node: Any) -> dict[str, Any] | None:
    """What an operation was given that no other one made, a batch or its targets, is not finite."""
    for attribute, place in _PLACE.items():
        inputs = node.next_functions
        if place >= len(inputs) or inputs[place][0] is not None:
            continue
        saved = _saved(node, attribute)
        if saved is not None and saved.is_floating_point() and not bool(torch.isfinite(saved).all()):
            return {"what": "its input is already not finite", "input": _range(saved)}
    return None


def _nonfinite_saved(node: Any) -> dict[str, Any] | None:
    for attribute in dir(node):
        if attribute.startswith("_saved_"):
            saved = _saved(node, attribute)
            if saved is not None and saved.is_floating_point() and not bool(torch.isfinite(saved).all()):
                made_here = attribute.endswith(("result", "result0")) and _plain(node.name()) not in _PASSES_ON
                return {"what": "its result is not finite", "input": _range(saved), "made_here": made_here}
    return None


def _maker(node: Any, made_here: bool) -> Any:
    """The operation that made the value that `node` saved: itself, or the one that its input came from."""
    while not made_here and node.next_functions and node.next_functions[0][0] is not None:
        parent = node.next_functions[0][0]
        if hasattr(parent, "variable"):
            break
        node = parent
        made_here = _plain(node.name()) not in _PASSES_ON
    return node


def _saved(node: Any, attribute: str) -> Tensor | None:
    try:
        value = getattr(node, attribute, None)
    except RuntimeError:  # freed, or changed in place since
        return None
    return value.detach() if isinstance(value, Tensor) and value.numel() else None


def _leaves(node: Any) -> Iterator[int]:
    for parent, _ in node.next_functions:
        if parent is not None and hasattr(parent, "variable"):
            yield id(parent.variable)
        elif parent is not None and parent.name() == "TBackward0":
            yield from _leaves(parent)


def _range(x: Tensor) -> dict[str, float | int]:
    finite = x[torch.isfinite(x)]
    summary: dict[str, float | int] = {"nonfinite": x.numel() - finite.numel(), "entries": x.numel()}
    if finite.numel():
        summary |= {"min": float(finite.min()), "max": float(finite.max())}
    return summary


def _plain(name: str) -> str:
    return name.removesuffix("0").removesuffix("Backward").lower()
