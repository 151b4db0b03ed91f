"""The scale of every module's output, and of the loss's gradient there, at sampled steps.

Global forward hooks, in place only while a sampled step is under way: a hook on a module would
travel with `torch.save(model)`. They read; they return nothing; they skip what runs without
gradients, inside a compiler's or tracer's pass, or again in a checkpoint's recomputation.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from weakref import ref

import torch
from torch import Tensor
from torch.nn import Module
from torch.nn.modules.module import register_module_forward_hook

from .._guard import Guard
from .._patches import Patches
from ._backward import BackwardReader
from ._passed import activation_passed
from ._scale import input_axis, largest, measure, output_axis, rms

MAX_CALLS = 512
SAMPLE = 65_536

# Of an activation's output y: is the slope there under a tenth of the steepest one?
_SATURATED: dict[str, Callable[[Tensor], Tensor]] = {
    "sigmoid": lambda y: y * (1 - y) < 0.025,
    "tanh": lambda y: 1 - y * y < 0.1,
    "hardsigmoid": lambda y: (y <= 0) | (y >= 1),
    "hardtanh": lambda y: y.abs() >= 1,
    "relu6": lambda y: y >= 6,
}


@dataclass(frozen=True)
class Measured:
    """An output and what was measured of it: where it is the next module's input, that need not be done again."""

    tensor: ref[Tensor]
    version: int
    axis: int
    numbers: dict[str, Tensor]

    def is_of(self, x: Tensor) -> bool:
        return self.tensor() is x and self.version == x._version


class ModuleReader:
    """Collects one row per call of a module while it is on."""

    def __init__(
        self,
        guard: Guard,
        backward: BackwardReader,
        on_stop: Callable[[], None],
        on_inputs: Callable[[tuple[Any, ...]], None],
    ) -> None:
        self._rows: list[dict[str, Any]] = []
        self._on_inputs = on_inputs
        self._backward = backward
        self._on_stop = guard(on_stop)
        self._stopped = False
        self._hook = guard(self._after_forward)
        self._after_gradient = guard(self._read_gradient)
        self._handle: Any = None
        self._last: Measured | None = None
        #: A kind of modules that another reader sees.
        self.skipped: type[Any] | None = None

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
        rows, self._rows, self._last = self._rows, [], None
        return rows

    def _after_forward(self, module: Module, inputs: tuple[Any, ...], output: Any) -> None:
        if torch.compiler.is_compiling() or torch._C._get_tracing_state() is not None:
            return
        if torch._C._functorch.peek_interpreter_stack() is not None:
            return
        if self._backward.under_way or not torch.is_grad_enabled() or len(self._rows) >= MAX_CALLS:
            return
        if module._modules and not module._parameters:
            return
        if self.skipped is not None and isinstance(module, self.skipped):
            return
        out = _first_tensor(output)
        if out is None or not out.requires_grad or not out.is_floating_point() or out.dim() == 0 or out.numel() == 0:
            return
        if not self._rows:
            self._on_inputs(inputs)
        row = {"call": len(self._rows), "module": id(module), "kind": type(module).__name__}
        self._rows.append(row)
        with torch.no_grad():
            row.update(self._measure(module, inputs, out))
        out.register_hook(functools.partial(self._after_gradient, row))  # type: ignore[no-untyped-call]

    def _measure(self, module: Module, inputs: tuple[Any, ...], output: Tensor) -> dict[str, Any]:
        """Columns of one call."""
        weighted = any(p is not None and p.dim() >= 2 for p in module._parameters.values())
        x, kind = _first_tensor(inputs), type(module).__name__
        measured: dict[str, Any] = {"weighted": weighted, "elements": output.numel()}
        if weighted and x is not None and x.is_floating_point() and x.numel() and x.dim():
            measured |= self._of_input(module, x)
        follows = self._last is not None and x is not None and self._last.is_of(x) and x.dim() == output.dim()
        axis = output_axis(module, output, self._last.axis if follows and self._last is not None else None)
        numbers = measure(output.detach(), axis)
        self._last = Measured(ref(output), output._version, axis, numbers)
        sample = _sample(output.detach())
        measured["out_zeros"] = (sample == 0).float().mean()
        if (saturated := _SATURATED.get(kind.lower())) is not None:
            measured["out_saturated"] = saturated(sample).float().mean()
        return measured | {f"out_{name}": number for name, number in numbers.items()}

    def _of_input(self, module: Module, x: Tensor) -> dict[str, Any]:
        axis, last = input_axis(module, x), self._last
        known = last is not None and last.axis == axis and last.is_of(x)
        numbers = last.numbers if known and last is not None else measure(x.detach(), axis)
        measured: dict[str, Any] = {f"in_{name}": number for name, number in numbers.items()}
        passed = activation_passed(x)
        measured["in_after"] = passed.name
        if passed.unchanged and (saturated := _SATURATED.get(passed.name or "")) is not None:
            measured["in_saturated"] = saturated(_sample(x.detach())).float().mean()
        return measured

    def _read_gradient(self, row: dict[str, Any], grad: Tensor) -> None:
        if grad is not None and grad.numel():
            row["grad_rms"] = rms(grad.detach())
            row["grad_max"] = largest(grad.detach())


def _first_tensor(value: Any) -> Tensor | None:
    while isinstance(value, (tuple, list)) and value:
        value = value[0]
    if isinstance(value, dict):
        value = next((v for v in value.values() if isinstance(v, Tensor)), None)
    return value if isinstance(value, Tensor) and value.layout == torch.strided else None


def _sample(x: Tensor) -> Tensor:
    """At most SAMPLE entries, evenly spaced, without a copy of the whole where it is contiguous."""
    flat = x.view(-1) if x.is_contiguous() else x.reshape(-1)
    return flat[:: max(1, flat.numel() // SAMPLE)]
