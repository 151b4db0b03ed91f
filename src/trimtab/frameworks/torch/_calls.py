"""The script's own calls of modules and of loss functions: those that no other module makes.

Global hooks, not hooks on a module, which would travel with `torch.save(model)`. Nothing is seen of what
runs without gradients, inside a compiler's or tracer's pass, or again in a checkpoint's recomputation.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from weakref import ref

import torch
from torch import Tensor
from torch.nn import Module
from torch.nn.modules import module as module_file
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook

from .._patches import Patches
from ._losses import FUNCTIONS, _tell_torchscript
from ._names import _is_loss

MAX_DEPTH = 8
_FRAMES = 8

# (arguments, keyword arguments) -> other arguments in their place, or None to leave them.
OnModule = Callable[[tuple[Any, ...], dict[str, Any]], tuple[Any, ...] | None]
# (kind of loss, targets) -> other targets in their place, or None.
OnLoss = Callable[[str, Tensor], Tensor | None]


class OuterCalls:
    """Tells of each outermost call of a module, before it runs, and of each loss function's targets."""

    def __init__(self, guard: Callable[[Any], Any], on_module: OnModule, on_loss: OnLoss) -> None:
        self._guard = guard
        self._on_module = on_module
        self._on_loss = on_loss
        self._in_backward = False
        self._outer: ref[Module] | None = None
        self._inner: frozenset[int] = frozenset()
        self._known: tuple[ref[Module], frozenset[int]] | None = None

    def attach(self, patches: Patches) -> None:
        patches.add(register_module_forward_pre_hook(self._guard(self._before_forward)))
        patches.add(register_module_forward_hook(self._guard(self._after_forward)))
        self._wrap_backward(patches)
        for owner, name, kind in FUNCTIONS:
            original = getattr(owner, name, None)
            if original is not None:
                patches.replace(owner, name, self._wrap_loss(original, kind))

    def _before_forward(self, module: Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        if self._in_backward or not _is_training_call() or _is_loss(module):
            return None
        outer = None if self._outer is None else self._outer()
        # `outer` may be left over from a call that ended in an exception.
        if outer is not None and module is not outer and id(module) in self._inner:
            return None
        self._enter(module)
        return self._on_module(args, _keywords())

    def _enter(self, module: Module) -> None:
        known = self._known
        if known is None or known[0]() is not module:
            known = self._known = ref(module), frozenset(id(m) for m in module.modules() if m is not module)
        self._outer, self._inner = known

    def _after_forward(self, module: Module, args: tuple[Any, ...], output: Any) -> None:
        if self._outer is not None and self._outer() is module:
            self._outer = None

    def _wrap_backward(self, patches: Patches) -> None:
        """A checkpoint's recomputation is no call of the script, even where our reading of the graph, just before
        the pass, has set it off. To be attached after what reads there."""
        original = torch.autograd.backward

        @functools.wraps(original)
        def backward(*args: Any, **kwargs: Any) -> None:
            self._in_backward = True
            try:
                original(*args, **kwargs)
            finally:
                self._in_backward = False

        patches.replace(torch.autograd, "backward", backward)

    def _wrap_loss(self, original: Callable[..., Any], kind: str) -> Callable[..., Any]:
        see = self._guard(self._see_loss)

        @functools.wraps(original)
        def loss_function(*args: Any, **kwargs: Any) -> Any:
            other = see(kind, args)
            return original(*(args if other is None else (args[0], other, *args[2:])), **kwargs)

        _tell_torchscript(original, loss_function)
        return loss_function

    def _see_loss(self, kind: str, args: tuple[Any, ...]) -> Tensor | None:
        if len(args) < 2 or not isinstance(args[1], Tensor) or self._in_backward or not _is_training_call():
            return None
        return self._on_loss(kind, args[1])


def tensors_in(value: Any, path: str) -> Iterator[tuple[str, Tensor]]:
    """The given tensors inside a nest of lists, tuples and mappings, each with its path. What needs a gradient was
    computed by the script, not given to it."""
    if isinstance(value, Tensor):
        if not value.requires_grad and value.layout == torch.strided:
            yield path, value
    elif path.count("/") < MAX_DEPTH:
        for key, item in _items(value):
            yield from tensors_in(item, f"{path}/{key}")


def with_tensors(value: Any, path: str, other: Mapping[str, Tensor], used: set[str]) -> Any:
    """The same nest with the tensors of `other` at their paths; the paths are added to `used`."""
    if isinstance(value, Tensor):
        if value.requires_grad or path not in other:
            return value
        used.add(path)
        return other[path].to(value.device)
    if path.count("/") >= MAX_DEPTH or not _items(value):
        return value
    new = [with_tensors(item, f"{path}/{key}", other, used) for key, item in _items(value)]
    if isinstance(value, dict):
        return value | dict(zip(value, new, strict=True))
    return type(value)(*new) if hasattr(value, "_fields") else type(value)(new)


def _items(value: Any) -> list[tuple[Any, Any]]:
    if isinstance(value, dict):
        return list(value.items())
    return list(enumerate(value)) if isinstance(value, (list, tuple)) else []


def _is_training_call() -> bool:
    return (
        torch.is_grad_enabled()
        and not torch.compiler.is_compiling()
        and torch._C._get_tracing_state() is None
        and torch._C._functorch.peek_interpreter_stack() is None
        and torch._C._current_graph_task_id() == -1  # else a checkpoint's recomputation
    )


def _keywords() -> dict[str, Any]:
    """The keyword arguments of the call that is being hooked, which a global hook is not given. It is the
    dictionary that the module's `forward` will be called with."""
    frame = sys._getframe(1)
    for _ in range(_FRAMES):
        if frame.f_back is None:
            break
        frame = frame.f_back
        if frame.f_code.co_filename == module_file.__file__ and "kwargs" in frame.f_locals:
            found: dict[str, Any] = frame.f_locals["kwargs"]
            return found
    return {}
