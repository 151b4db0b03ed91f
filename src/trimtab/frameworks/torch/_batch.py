"""`--keep-batch`: what the forward passes and loss functions of the step under way were given.

References, no copies, to the tensors of the newest step alone; they are copied when the step fails.
Without the option nothing of this is in place.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from .._guard import Guard
from .._patches import Patches
from ._calls import OuterCalls, tensors_in

MAX_BYTES = 256 << 20
MAX_CALLS = 64
COMPILED = "torch.compile is used: what the compiled module is given cannot be seen"


@dataclass
class Given:
    """Tensors given to the calls of one step; the version of each says whether it was changed in place since."""

    tensors: dict[str, tuple[Tensor, int]] = field(default_factory=dict)
    random_states: dict[str, Tensor] = field(default_factory=dict)
    forwards: int = 0
    losses: list[str] = field(default_factory=list)


class BatchKeeper:
    """Holds what the calls since the last optimizer step were given; `position` changes with every step."""

    def __init__(self, guard: Guard, position: Callable[[], tuple[int, int]]) -> None:
        self._position = position
        self._given = Given()
        self._at: tuple[int, int] | None = None
        self._patches = Patches()
        self._blind: str | None = None
        self._stop_guarded = guard(self._stop)
        self._calls = OuterCalls(guard, self._note_forward, self._note_loss)

    def attach(self, patches: Patches) -> None:
        self._calls.attach(self._patches)
        patches.add(self)
        original, stop = torch.compile, self._stop_guarded

        @functools.wraps(original)
        def compile_and_stop(*args: Any, **kwargs: Any) -> Any:
            stop()
            return original(*args, **kwargs)

        patches.replace(torch, "compile", compile_and_stop)

    def remove(self) -> None:
        """Take the hooks away."""
        self._patches.undo()
        self._given = Given()

    def restart(self) -> None:
        """What was called before the first optimizer existed is no training."""
        self._at = None

    def _stop(self) -> None:
        self._blind = COMPILED
        self.remove()

    def batch(self, *, of_step_under_way: bool) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Copies of the tensors by name, and what is to be said of them. `of_step_under_way`: not where the
        calls are those of the step before."""
        given = self._given
        if self._blind is not None:
            return {}, {"not_kept": self._blind}
        if not given.tensors or (of_step_under_way and self._at != self._position()):
            return {}, {"not_kept": "no tensors were given to a module or a loss function in that step"}
        nbytes = sum(tensor.numel() * tensor.element_size() for tensor, _ in given.tensors.values())
        if nbytes > MAX_BYTES:
            return {}, {"not_kept": f"it takes {nbytes >> 20} MB; at most {MAX_BYTES >> 20} MB are kept"}
        tensors = {name: _copied(tensor) for name, (tensor, _) in given.tensors.items() if not tensor.is_complex()}
        facts = {
            "file": "blackbox/batch.safetensors",
            "bytes": nbytes,
            "forwards": given.forwards,
            "losses": given.losses,
            "changed_in_place": [name for name, (t, version) in given.tensors.items() if _version(t) != version],
        }
        return tensors | given.random_states, facts

    def _begin(self) -> None:
        """Forget the step before, once another has begun."""
        position = self._position()
        if position != self._at:
            self._at = position
            self._given = Given()

    def _note_forward(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._begin()
        given = self._given
        if given.forwards >= MAX_CALLS:
            return
        name = f"forward{given.forwards}"
        given.random_states[f"random_state/{given.forwards}"] = torch.get_rng_state()
        given.forwards += 1
        for value, place in ((args, f"{name}/args"), (kwargs, f"{name}/kwargs")):
            given.tensors |= {path: (tensor, _version(tensor)) for path, tensor in tensors_in(value, place)}

    def _note_loss(self, kind: str, targets: Tensor) -> None:
        self._begin()
        given = self._given
        if len(given.losses) < MAX_CALLS:
            if not targets.requires_grad and targets.layout == torch.strided:
                given.tensors[f"loss{len(given.losses)}/targets"] = (targets, _version(targets))
            given.losses.append(kind)


def _version(tensor: Tensor) -> int:
    return -1 if tensor.is_inference() else tensor._version


def _copied(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
