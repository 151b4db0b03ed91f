"""The scale of every module's output, and of the loss's gradient there, at sampled steps.

Global forward hooks, in place only while a sampled step is under way: a hook on a module would
travel with `torch.save(model)`. They read; they return nothing; they skip what runs without
gradients, inside a compiler's or tracer's pass, or again in a checkpoint's recomputation.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module
from torch.nn.modules.module import register_module_forward_hook

from ._backward import BackwardReader
from ._guard import Guard
from ._patches import Patches

MAX_CALLS = 512
SAMPLE = 65_536

# Output y -> is the slope there under a tenth of the steepest one?
_SATURATED: dict[str, Callable[[Tensor], Tensor]] = {
    "Sigmoid": lambda y: y * (1 - y) < 0.025,
    "Tanh": lambda y: 1 - y * y < 0.1,
    "Hardsigmoid": lambda y: (y <= 0) | (y >= 1),
    "Hardtanh": lambda y: y.abs() >= 1,
    "ReLU6": lambda y: y >= 6,
}


class ModuleReader:
    """Collects one row per call of a module while it is on."""

    def __init__(self, guard: Guard, backward: BackwardReader, on_stop: Callable[[], None]) -> None:
        self._rows: list[dict[str, Any]] = []
        self._backward = backward
        self._on_stop = guard(on_stop)
        self._stopped = False
        self._hook = guard(self._after_forward)
        self._after_gradient = guard(self._read_gradient)
        self._handle: Any = None

    def attach(self, patches: Patches) -> None:
        """Step aside when the script compiles something: a compiler warns of global hooks, and compiles
        anew whenever they come or go."""
        original = torch.compile
        stop = self._stop

        @functools.wraps(original)
        def compile_and_stop(*args: Any, **kwargs: Any) -> Any:
            stop()
            return original(*args, **kwargs)

        patches.replace(torch, "compile", compile_and_stop)

    def _stop(self) -> None:
        self.switch(False)
        if not self._stopped:
            self._stopped = True
            self._on_stop()

    def switch(self, on: bool) -> None:
        """Hook the forward passes to come, or no longer."""
        if on and self._handle is None and not self._stopped:
            self._handle = register_module_forward_hook(self._hook)
        elif not on and self._handle is not None:
            self._handle.remove()
            self._handle = None

    def take(self) -> list[dict[str, Any]]:
        rows, self._rows = self._rows, []
        return rows

    def _after_forward(self, module: Module, inputs: tuple[Any, ...], output: Any) -> None:
        if torch.compiler.is_compiling() or torch._C._get_tracing_state() is not None:
            return
        if self._backward.under_way or not torch.is_grad_enabled() or len(self._rows) >= MAX_CALLS:
            return
        if module._modules and not module._parameters:
            return
        out = _first_tensor(output)
        if out is None or not out.requires_grad or not out.is_floating_point() or out.dim() == 0 or out.numel() == 0:
            return
        row = {"call": len(self._rows), "module": id(module), "kind": type(module).__name__}
        self._rows.append(row)
        with torch.no_grad():
            row.update(self._measure(module, inputs, out.detach()))
        out.register_hook(functools.partial(self._after_gradient, row))  # type: ignore[no-untyped-call]

    def _measure(self, module: Module, inputs: tuple[Any, ...], out: Tensor) -> dict[str, Any]:
        weighted = any(p is not None and p.dim() >= 2 for p in module._parameters.values())
        sample = _sample(out)
        measured: dict[str, Any] = {
            "weighted": weighted,
            "elements": out.numel(),
            "out_rms": _rms(out),
            "out_max": _largest(out),
            "out_zeros": (sample == 0).float().mean(),
        }
        if (saturated := _SATURATED.get(type(module).__name__)) is not None:
            measured["out_saturated"] = saturated(sample).float().mean()
        first = _first_tensor(inputs)
        if weighted and first is not None and first.is_floating_point() and first.numel():
            measured |= {"in_rms": _rms(first.detach()), "in_max": _largest(first.detach())}
        return measured

    def _read_gradient(self, row: dict[str, Any], grad: Tensor) -> None:
        if grad is not None and grad.numel():
            row["grad_rms"] = _rms(grad.detach())
            row["grad_max"] = _largest(grad.detach())


def _first_tensor(value: Any) -> Tensor | None:
    while isinstance(value, (tuple, list)) and value:
        value = value[0]
    if isinstance(value, dict):
        value = next((v for v in value.values() if isinstance(v, Tensor)), None)
    return value if isinstance(value, Tensor) and value.layout == torch.strided else None


def _rms(x: Tensor) -> Any:
    dtype = torch.float32 if x.dtype in (torch.float16, torch.bfloat16) else None
    return torch.linalg.vector_norm(x, dtype=dtype) / math.sqrt(x.numel())


def _largest(x: Tensor) -> Any:
    return torch.linalg.vector_norm(x, math.inf)


def _sample(x: Tensor) -> Tensor:
    """At most SAMPLE entries, evenly spaced, without a copy of the whole where it is contiguous."""
    flat = x.view(-1) if x.is_contiguous() else x.reshape(-1)
    return flat[:: max(1, flat.numel() // SAMPLE)]
