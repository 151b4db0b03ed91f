"""Policies at work on one optimizer: they see the norms before a step, and its gradients are changed or hidden.

Where the norms are on the host, policies that need no more are decided there. Else they are decided where the gradients
are; the host waits for the decision only if the optimizer cannot be told to leave the step out by itself.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any
from weakref import ref

import numpy as np
import torch
from torch import Tensor
from torch.nn.modules.conv import _ConvTransposeNd

from ...policies import NUMPY, Decision, Layout, Policy, PolicyError, Recovery, Vitals
from .._guarding import NOT_RECOVERED, Acts, GuardLog, Recovered
from ._guard_recovery import Recoverer, Roots, finite_weights
from ._norms import Norms
from ._xp import TorchNamespace

Optimizer = torch.optim.Optimizer
Scale = float | Norms | Tensor


@dataclass(slots=True)
class Act:
    """What was decided for one step; `numbers` are tensors as long as the host has not waited for them.

    `is_late`: it is not known yet whether anything was done at all.
    `scale`: of each gradient, in the order of the tensors that have one, or of all; None where gradients are mapped.
    `lr_scale`: of the learning rates. `moves`: the weights have gone back.
    """

    acts: Acts | list[Tensor | None]
    scale: Scale | None = 1.0
    is_late: bool = False
    lr_scale: float = 1.0
    moves: bool = False

    def told(self) -> Acts:
        """What each policy did; waits for the device."""
        if not isinstance(self.acts, Acts):
            half = len(self.acts) // 2
            values = [None if value is None else float(value) for value in self.acts]
            self.acts = _first_only([bool(v) for v in values[:half]], values[half:])
        return self.acts

    def factor(self) -> float | Norms:
        """`scale` on the host; 1 where there is none."""
        if isinstance(self.scale, Tensor):
            self.scale = self.scale.cpu().double().numpy()
        return 1.0 if self.scale is None else self.scale


@dataclass
class Given:
    """What a step brings: parameters that have a gradient, at the places `present` among all of the optimizer's.

    `norms` of `grads`, on the host or their device, are those of the true gradients; `unscale` is the factor of a
    scaler that `grads` still hold. `raw_norm`: of all gradients before the script's own clip, where it has clipped.
    """

    parameters: list[Tensor]
    grads: list[Tensor]
    present: list[int] | None
    norms: Norms | Tensor
    unscale: float | Tensor = 1.0
    raw_norm: float | None = None


@dataclass
class _Hidden:
    """What a withheld step must not change, kept while `step` runs."""

    grads: list[tuple[Tensor, Tensor]]
    settings: list[dict[str, Any]]


class StepGuard:
    """The policies of one optimizer, with their memory. Holds no reference to it."""

    def __init__(
        self,
        policy: Policy,
        optimizer: Optimizer,
        layout: Layout,
        on_device: bool | None = None,
        roots: Roots = (),
    ) -> None:
        self._policy = policy
        self._recoverer = Recoverer(roots) if policy.on_host else None
        self._layout = layout
        self._maps = not policy.needs <= {"norms"}
        self._harmless = -math.inf if policy.harmless is None else policy.harmless
        self._on_device = on_device
        self._count = sum(len(group["params"]) for group in optimizer.param_groups)
        self._state: Any = None
        self._hidden: _Hidden | None = None
        self._amp: list[tuple[str, Any, Any]] = []
        self._before: tuple[list[Tensor], list[tuple[Any, Any]]] | None = None
        self._undo = False
        self.policies = [part.text for part in policy.parts]
        self._weights_finite = finite_weights(ref(optimizer))
        self.log = GuardLog(self.policies, lambda: not self._weights_finite())

    def lets_pass(self, norms: Norms | Tensor) -> bool:
        """Surely nothing is to be done to a step, nor remembered of it; known at a glance, where norms are on the host.

        A norm is finite if and only if all entries are; of a NaN no comparison is true.
        """
        if self._harmless < 0 or not isinstance(norms, np.ndarray):
            return False
        squared = float(norms.dot(norms))
        return squared < math.inf and squared <= self._harmless * self._harmless

    def act(self, optimizer: Optimizer, step: int, given: Given) -> Act | None:
        """Decide on a step and change its gradients; None where nothing is to be done.

        A step to be left out has no gradients until `restore` is called: every optimizer leaves a parameter without
        one as it is, its moments, its count and its decay included.
        """
        if self._recoverer is not None:
            if _withheld(optimizer) and self._seem_finite():
                return None  # a scaler that seeks its factor, no sign of bad weights
            given = replace(given, norms=_on_host(given.norms))
        if isinstance(given.norms, np.ndarray) and not self._maps and not self._on_device:
            return self._act_on_host(optimizer, step, given)
        with torch.no_grad():
            return self._act_on_device(optimizer, step, given)

    def keep(self, optimizer: Optimizer) -> None:
        """A step begins that evaluates its closure several times, between which it moves the weights."""
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        weights = [p.detach().clone() for p in parameters]
        state = [(key, copy.deepcopy(value)) for key, value in optimizer.state.items()]
        self._before, self._undo = (weights, state), False

    def begin(self, optimizer: Optimizer) -> None:
        """A step begins. What is held yet was left by one that ended in an exception: its gradients are gone."""
        self._hidden = self._before = None
        self._put_back(optimizer)

    def restore(self, optimizer: Optimizer) -> None:
        """The step is over: what was hidden, set or moved is as it was."""
        if self._hidden is not None:
            for parameter, grad in self._hidden.grads:
                if parameter.grad is None:  # else a closure has made others
                    parameter.grad = grad
            for group, settings in zip(optimizer.param_groups, self._hidden.settings, strict=False):
                group.update(settings)
            self._hidden = None
        self._put_back(optimizer)
        if self._before is not None:
            self._move_back(optimizer, *self._before)
            self._before = None

    @property
    def is_holding(self) -> bool:
        """`restore` must be called after the step."""
        has_set = bool(self._amp) or (self._recoverer is not None and self._recoverer.is_holding)
        return has_set or self._hidden is not None or self._before is not None

    @property
    def would_go_back(self) -> bool:
        """Weights are lost, and a policy may put earlier ones in their place."""
        return self._recoverer is not None and not self._seem_finite()

    def _put_back(self, optimizer: Optimizer) -> None:
        """What was set for one step is as it was."""
        self._unset_amp(optimizer)
        if self._recoverer is not None:
            self._recoverer.put_rates_back()

    def _act_on_host(self, optimizer: Optimizer, step: int, given: Given) -> Act | None:
        norms = given.norms
        assert isinstance(norms, np.ndarray)
        with np.errstate(over="ignore"):
            squares = np.square(norms).astype(np.float32)
        if given.present is not None:
            all_squares = np.zeros(self._count, np.float32)
            all_squares[given.present] = squares
            squares = all_squares
        raw = None if given.raw_norm is None else np.float32(given.raw_norm)
        finite = np.isfinite(norms).all()
        vitals = Vitals(squares, finite, layout=self._layout, raw_norm=raw, weights_finite=self._seem_finite)
        if self._state is None:
            self._state = self._policy.start(self._count, NUMPY)
        self._state, decision = self._policy.decide(self._state, vitals, NUMPY)
        return self._do(optimizer, step, given, decision)

    def _do(self, optimizer: Optimizer, step: int, given: Given, decision: Decision) -> Act | None:
        """What was decided on the host, or has been fetched."""
        scale = decision.scale
        recovered = self._recover(optimizer, step, decision)
        if (
            not (decision.skip or recovered)
            and decision.grads is None
            and (scale is None or (scale.ndim == 0 and scale == 1.0))
        ):
            return None
        acts = _first_only([bool(part.skip) for part in decision.parts], [_least(part) for part in decision.parts])
        acts = acts._replace(recovered=recovered)
        if acts.nothing:
            return None
        self.log.add(step, _on_host(given.norms), acts)
        if acts.skip:
            self._hide(optimizer, given)
            return Act(acts, moves=any(done.back_to is not None for done in recovered))
        lr_scale = math.prod(done.lr_scale for done in recovered)
        if decision.grads is not None:
            with torch.no_grad():
                self._map(given, decision.grads)
            return Act(acts, None, lr_scale=lr_scale)
        if scale is None or scale.ndim == 0:
            chosen: float | Norms = 1.0 if scale is None else float(scale)
        else:
            chosen = scale if given.present is None else scale[given.present]
        if not (isinstance(chosen, float) and chosen == 1.0):
            with torch.no_grad():
                self._multiply(optimizer, given, chosen)
        return Act(acts, chosen, lr_scale=lr_scale)

    def _seem_finite(self) -> bool:
        """Whether all weights are finite, as far as all ranks know alike: of its own weights each knows alone."""
        return _is_one_of_several() or self._weights_finite()

    def _recover(self, optimizer: Optimizer, step: int, decision: Decision) -> tuple[Recovered, ...]:
        """Do what policies on the host want done before this step, and say of each policy what was; () for nothing."""
        if self._recoverer is None:
            return ()
        done = tuple(self._recover_one(optimizer, step, part.recovery) for part in decision.parts)
        rate = math.prod(each.lr_scale for each in done)
        if rate != 1.0 and not decision.skip:
            self._recoverer.scale_rates(optimizer, rate)
        return done if any(each != NOT_RECOVERED for each in done) else ()

    def _recover_one(self, optimizer: Optimizer, step: int, wanted: Recovery | None) -> Recovered:
        assert self._recoverer is not None
        if wanted is None:
            return NOT_RECOVERED
        if wanted.keep:
            self._recoverer.keep(optimizer, step, self._state)
        if wanted.gives_up:
            self._recoverer.forget()
        older = self._recoverer.back(optimizer) if wanted.back else None
        if older is not None:
            self._state = self._policy.returned(self._state, older.memory)
        return Recovered(
            wanted.lr_scale, None if older is None else older.step, wanted.rest or wanted.back, wanted.gives_up
        )

    def _act_on_device(self, optimizer: Optimizer, step: int, given: Given) -> Act | None:
        device = given.grads[0].device if given.grads else torch.device("cpu")
        xp = TorchNamespace(device)
        norms = torch.as_tensor(given.norms, dtype=torch.float32, device=device)
        squares = norms.square()
        if given.present is not None:
            squares = torch.zeros(self._count, device=device).index_copy_(
                0, torch.tensor(given.present, device=device), squares
            )
        raw = None if given.raw_norm is None else torch.tensor(given.raw_norm, device=device)
        grads, weights = self._tensors(given, device)
        finite = torch.isfinite(norms).all()
        vitals = Vitals(squares, finite, grads, weights, self._layout, raw, self._seem_finite)
        if self._state is None:
            self._state = self._policy.start(self._count, xp)
        self._state, decision = self._policy.decide(self._state, vitals, xp)
        tells = getattr(optimizer, "_step_supports_amp_scaling", False) and device.type != "cpu"
        if (
            tells
            and self._recoverer is None
            and decision.grads is None
            and (decision.scale is None or decision.scale.dim() == 0)
        ):
            return self._tell(optimizer, given, decision)
        return self._do(optimizer, step, given, _fetched(decision))

    def _tensors(self, given: Given, device: torch.device) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Gradients, and weights, of all parameters, for policies that ask for them; nothing stands where none is."""
        if not self._maps:
            return (), ()
        nothing = torch.zeros((), device=device)
        grads, weights = [nothing] * self._count, [nothing] * self._count
        places = range(self._count) if given.present is None else given.present
        for place, grad, parameter in zip(places, given.grads, given.parameters, strict=True):
            if grad.layout != torch.strided:
                raise TypeError(f"{self._policy.text} needs dense gradients; one of {tuple(grad.shape)} is sparse")
            grads[place] = grad if isinstance(given.unscale, float) and given.unscale == 1.0 else grad / given.unscale
            weights[place] = parameter.detach()
        return tuple(grads), tuple(weights)

    def _map(self, given: Given, mapped: Sequence[Tensor]) -> None:
        chosen = list(mapped) if given.present is None else [mapped[place] for place in given.present]
        torch._foreach_copy_(given.grads, chosen)
        if not (isinstance(given.unscale, float) and given.unscale == 1.0):
            torch._foreach_mul_(given.grads, given.unscale)

    def _multiply(self, optimizer: Optimizer, given: Given, scale: float | Norms) -> None:
        """Scale the gradients: within the step where the optimizer takes a divisor, else now."""
        if not isinstance(scale, float):
            for grad, factor in zip(given.grads, scale.tolist(), strict=True):
                if factor != 1.0:
                    grad.mul_(factor)
        elif scale == 0.0 or not getattr(optimizer, "_step_supports_amp_scaling", False) or self._before is not None:
            _multiply_all(given.grads, scale)
        else:
            device = given.grads[0].device
            divisor = torch.as_tensor(given.unscale, dtype=torch.float32, device=device) / scale
            self._set_amp(optimizer, divisor, getattr(optimizer, "found_inf", None))

    def _tell(self, optimizer: Optimizer, given: Given, decision: Decision) -> Act:
        """Have a fused optimizer on a device divide and skip by itself; nobody waits."""
        skip = decision.skip.to(torch.float32)
        found = getattr(optimizer, "found_inf", None)
        scale = torch.ones_like(skip) if decision.scale is None else decision.scale
        unscale = torch.as_tensor(given.unscale, dtype=torch.float32, device=skip.device)
        self._set_amp(optimizer, unscale / scale, skip if found is None else torch.maximum(skip, found))
        acts: list[Tensor | None] = [part.skip for part in decision.parts]
        return Act(acts + [_least_tensor(part) for part in decision.parts], scale, is_late=True)

    def _set_amp(self, optimizer: Any, divisor: Tensor, found_inf: Tensor | None) -> None:
        """Set the attributes by which a GradScaler tells a fused optimizer; `_amp` has name, value before, and ours."""
        found_inf = torch.zeros((), device=divisor.device) if found_inf is None else found_inf
        for name, ours in (("grad_scale", divisor), ("found_inf", found_inf)):
            self._amp.append((name, getattr(optimizer, name, None), ours))
            setattr(optimizer, name, ours)

    def _unset_amp(self, optimizer: Any) -> None:
        for name, before, ours in self._amp:
            if getattr(optimizer, name, None) is not ours:
                continue  # a scaler has begun the next step
            if before is None:
                delattr(optimizer, name)
            else:
                setattr(optimizer, name, before)
        self._amp = []

    def _hide(self, optimizer: Optimizer, given: Given) -> None:
        self._undo = True
        settings = [{key: value for key, value in group.items() if key != "params"} for group in optimizer.param_groups]
        hidden = [(p, p.grad) for p in given.parameters if p.grad is not None]
        self._hidden = _Hidden(hidden, settings)
        for parameter in given.parameters:
            parameter.grad = None

    def _move_back(self, optimizer: Optimizer, weights: list[Tensor], state: list[tuple[Any, Any]]) -> None:
        if not self._undo:
            return
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        with torch.no_grad():
            torch._foreach_copy_(parameters, weights)
        optimizer.state.clear()
        optimizer.state.update(state)


def gradients_of(optimizer: Optimizer) -> tuple[list[Tensor], list[Tensor], list[int] | None]:
    """The parameters that have a gradient, these, and their places among all; None for all of them."""
    every = [p for group in optimizer.param_groups for p in group["params"]]
    present = [i for i, p in enumerate(every) if p.grad is not None]
    parameters = [every[i] for i in present]
    grads = [p.grad for p in parameters if p.grad is not None]
    return parameters, grads, None if len(present) == len(every) else present


def stepping(optimizer: Optimizer) -> Optimizer:
    """The optimizer whose steps torch's hooks see, where a trainer (Accelerate, Lightning) has wrapped it."""
    while "_optimizer_step_pre_hooks" not in vars(optimizer):
        inner = getattr(optimizer, "optimizer", None)
        if not isinstance(inner, Optimizer):
            break
        optimizer = inner
    return optimizer


def refuse_senseless(policy: Policy, optimizer: Optimizer) -> None:
    """Raise PolicyError where `policy` has a part that can't act on this optimizer."""
    if policy.on_host and isinstance(optimizer, torch.optim.LBFGS):
        part = next(part for part in policy.parts if part.on_host)
        raise PolicyError(
            f"`{part.text}` can't act on L-BFGS, whose step reads the learning rate and moves the weights before its "
            "gradient is known; leave it out, or use another optimizer"
        )


def layout_of(optimizer: Optimizer, roots: Sequence[torch.nn.Module]) -> Layout:
    """Units lie on axis 0, of transposed convolutions on axis 1; the head is the last module with a weight."""
    head: set[int] = set()
    transposed: set[int] = set()
    for root in roots:
        for module in root.modules():
            own = list(module.parameters(recurse=False))
            if any(p.dim() > 1 for p in own):
                head = {id(p) for p in own}
            if isinstance(module, _ConvTransposeNd):
                transposed |= {id(p) for p in own}
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    axes = tuple(None if p.dim() < 2 else int(id(p) in transposed) for p in parameters)
    return Layout(axes, tuple(id(p) in head for p in parameters))


def _first_only(skipped: list[bool], scales: list[float | None]) -> Acts:
    """Of policies that would all leave out the step, the first one did."""
    first = skipped.index(True) if True in skipped else -1
    return Acts(tuple(i == first for i in range(len(skipped))), tuple(scales))


def _least(part: Decision) -> float | None:
    if part.grads is not None:
        return None
    return 1.0 if part.scale is None else float(part.scale.min())


def _least_tensor(part: Decision) -> Tensor | None:
    if part.grads is not None:
        return None
    return torch.ones_like(part.skip, dtype=torch.float32) if part.scale is None else part.scale.min()


def _fetched(decision: Decision) -> Decision:
    """The same with skips and scales on the host; mapped gradients stay where they are."""
    parts = tuple(_fetched(part) for part in decision.parts)
    scale = None if decision.scale is None else decision.scale.cpu().numpy()
    return Decision(bool(decision.skip), scale, decision.grads, parts, decision.recovery)


def _withheld(optimizer: Optimizer) -> bool:
    """A scaler has found an infinity: a fused optimizer will leave the step out by itself."""
    found = getattr(optimizer, "found_inf", None)
    return found is not None and bool(found)


def _is_one_of_several() -> bool:
    distributed = torch.distributed
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1


def _on_host(norms: Norms | Tensor) -> Norms:
    return norms.cpu().double().numpy() if isinstance(norms, Tensor) else norms


def _multiply_all(grads: list[Tensor], scale: float) -> None:
    if all(grad.layout == torch.strided for grad in grads):
        torch._foreach_mul_(grads, scale)
        return
    for grad in grads:
        grad.mul_(scale)
