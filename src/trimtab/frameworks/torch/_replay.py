"""`trimtab show RUN --replay`, inside the script that is run again.

Every optimizer step of the script becomes an experiment: before its forward pass the weights of the black
box are put in, in the forward pass the kept batch takes the place of the script's, and when the
optimizer would step, loss and gradients are read. The script's own code does all the rest, so that
whatever lies between data, model and loss is what it was. After the last experiment the process is
left at once: what the script would do at its end is not done.
"""

from __future__ import annotations

import functools
import json
import math
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, NoReturn
from weakref import ref

import torch
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_pre_hook

from .._outbox import Session
from .._patches import Patches
from ._calls import OuterCalls, with_tensors
from ._graph import first_hazard, first_nonfinite
from ._names import Naming, name_parameters
from ._norms import careful_norm

Tensors = dict[str, Tensor]
Optimizer = torch.optim.Optimizer
NO_FORWARD = "no forward pass of a module was seen before the optimizer's step"
NO_MATCH = "no optimizer of the script has the tensors of the black box: the model was built otherwise"


class Replayer:
    """Carries out `task`: {"box": directory, "result": file, "experiments": [[weights, batch], ...]}.

    weights: "failed" (those of the step that failed), "snapshot" (the older copy) or "start" (those that the
    script begins with). batch: "kept" or "script" (whatever the script takes next).
    """

    def __init__(self, session: Session, task: dict[str, Any]) -> None:
        self._session = session
        self._box = str(task["box"])
        self._result_file = str(task["result"])
        self._experiments: list[list[str]] = list(task["experiments"])
        self._done: list[dict[str, Any]] = []
        self._uncompiled = False
        self._owner = os.getpid()
        self._patches = Patches()
        self._calls = OuterCalls(self._guarded, self._on_forward, self._on_loss)
        self._optimizers: list[ref[Optimizer]] = []
        self._stage: Stage | None = None
        self._trial: Trial | None = None

    def attach(self) -> None:
        self._session.on_exit(self._note_exception)
        self._wrap_construction()
        self._wrap_backward()
        self._calls.attach(self._patches)
        self._patches.replace(torch, "compile", self._do_not_compile)
        self._patches.add(register_optimizer_step_pre_hook(self._guarded(self._before_step)))

    def detach(self) -> None:
        self._patches.undo()

    def _wrap_construction(self) -> None:
        original = Optimizer.__init__

        @functools.wraps(original)
        def init(optimizer: Optimizer, *args: Any, **kwargs: Any) -> None:
            original(optimizer, *args, **kwargs)
            self._optimizers.append(ref(optimizer))

        self._patches.replace(Optimizer, "__init__", init)

    def _wrap_backward(self) -> None:
        original = torch.autograd.backward
        before = self._guarded(self._before_backward)

        @functools.wraps(original)
        def backward(tensors: Any, *args: Any, **kwargs: Any) -> None:
            before(tensors)
            return original(tensors, *args, **kwargs)

        self._patches.replace(torch.autograd, "backward", backward)

    def _do_not_compile(self, model: Any = None, **options: Any) -> Any:
        """Takes the place of torch.compile: what a compiled module is given cannot be exchanged."""
        self._uncompiled = True
        return model if model is not None else lambda model: model

    def _on_forward(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...] | None:
        if self._trial is None:
            self._begin()
        trial = self._trial
        if trial is None:
            return None
        name = f"forward{trial.forwards}"
        if trial.batch:
            if trial.random_state is None:
                trial.random_state = torch.get_rng_state()
            state = trial.batch.get(f"random_state/{trial.forwards}")
            if state is not None:
                torch.set_rng_state(state)
            kwargs.update(with_tensors(kwargs, f"{name}/kwargs", trial.batch, trial.used))
            args = with_tensors(args, f"{name}/args", trial.batch, trial.used)
        trial.forwards += 1
        return args if trial.batch else None

    def _on_loss(self, kind: str, targets: Tensor) -> Tensor | None:
        trial = self._trial
        if trial is None:
            return None
        name = f"loss{trial.losses_called}/targets"
        trial.losses_called += 1
        if name not in trial.batch or targets.requires_grad:
            return None
        trial.used.add(name)
        return trial.batch[name].to(targets.device)

    def _begin(self) -> None:
        """The first forward pass of a step: put the weights in, if the script has its optimizer by now."""
        alive = [optimizer for r in self._optimizers if (optimizer := r()) is not None]
        if self._stage is None and alive:
            self._stage = find_stage(alive, self._box)
        if self._stage is not None:
            weights, batch = self._experiments[len(self._done)]
            self._stage.set(weights)
            self._trial = Trial(weights, batch, self._stage.batch if batch == "kept" else {})

    def _before_backward(self, tensors: Any) -> None:
        trial = self._trial
        root = tensors if isinstance(tensors, Tensor) else tensors[0] if len(tensors) == 1 else None
        if trial is None or self._stage is None or root is None or root.numel() != 1:
            return
        loss = float(root.detach())
        trial.losses.append(loss)
        if trial.fault is None:
            look = first_hazard if math.isfinite(loss) else first_nonfinite
            trial.fault = look(root, self._stage.names_by_id())

    def _before_step(self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        closure = kwargs.get("closure", args[1] if len(args) > 1 else None)
        if not callable(closure):
            self._conclude(optimizer)
            return None
        conclude = self._guarded(self._conclude)

        @functools.wraps(closure)
        def evaluate() -> Any:
            """Every evaluation of the closure is an experiment: it has a forward and a backward pass."""
            value = closure()
            conclude(optimizer)
            return value

        if "closure" in kwargs:
            return args, kwargs | {"closure": evaluate}
        return (args[0], evaluate, *args[2:]), kwargs

    def _conclude(self, optimizer: Optimizer) -> None:
        """The gradients are there: read them, and take up the next experiment."""
        if self._stage is None:
            self._leave(NO_MATCH if self._optimizers else NO_FORWARD)
        if optimizer is not self._stage.optimizer():
            return
        if self._trial is None:
            self._leave(NO_FORWARD)
        with torch.no_grad():
            self._done.append(self._trial.result(self._stage))
        if self._trial.random_state is not None:
            torch.set_rng_state(self._trial.random_state)
        self._trial = None
        self._write()
        if len(self._done) == len(self._experiments):
            self._leave()

    def _guarded(self, hook: Callable[..., Any]) -> Callable[..., Any]:
        """An error of ours ends the replay: nothing is to be learnt from a script that we have disturbed."""

        def guarded(*args: Any, **kwargs: Any) -> Any:
            if os.getpid() != self._owner:
                return None
            try:
                return hook(*args, **kwargs)
            except Exception as error:
                self._leave(f"{type(error).__name__}: {error}")

        return guarded

    def _note_exception(self) -> None:
        """The script ends by an exception of its own: it belongs to the experiment under way."""
        error = getattr(sys, "last_exc", None) or getattr(sys, "last_value", None)
        if os.getpid() != self._owner or len(self._done) == len(self._experiments):
            return
        if isinstance(error, Exception) and self._trial is not None:
            self._done.append({**self._trial.facts(), "exception": type(error).__name__, "message": str(error)[:500]})
            self._trial = None
        self._write()

    def _write(self, problem: str | None = None) -> None:
        data = {"experiments": self._done, "problem": problem, "optimizers": len(self._optimizers)}
        data["uncompiled"] = self._uncompiled
        with open(self._result_file + ".part", "w", encoding="utf-8") as file:
            json.dump(data, file)
        os.replace(self._result_file + ".part", self._result_file)

    def _leave(self, problem: str | None = None) -> NoReturn:
        self._write(problem)
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):
                stream.flush()
        self._experiments = self._experiments[: len(self._done)]
        os._exit(0)


class Trial:
    """One experiment under way."""

    def __init__(self, weights: str, batch: str, tensors: Tensors) -> None:
        self.weights, self.source, self.batch = weights, batch, tensors
        self.forwards = self.losses_called = 0
        self.used: set[str] = set()
        self.losses: list[float] = []
        self.fault: dict[str, Any] | None = None
        self.random_state: Tensor | None = None  # the script's own, while that of the batch is in its place

    def facts(self) -> dict[str, Any]:
        unused = [name for name in self.batch if name not in self.used and not name.startswith("random_state/")]
        loss = sum(self.losses) / len(self.losses) if self.losses else None
        facts = {"weights": self.weights, "batch": self.source, "loss": _plain(loss), "not_used": unused}
        return {**facts, "targets_kept": any(name.startswith("loss") for name in self.used)}

    def result(self, stage: Stage) -> dict[str, Any]:
        norms = dict(stage.gradient_norms())
        ratios = sorted(stage.g2_over_v(), key=lambda pair: -pair[1])
        return {
            **self.facts(),
            "grad_norm": _plain(math.hypot(*norms.values())),
            "nonfinite": [name for name, norm in norms.items() if not math.isfinite(norm)],
            "fault": None if self.fault is None else _plain_tree(self.fault),
            "g2_over_v": {name: _plain(ratio) for name, ratio in ratios[:3]},
        }


class Stage:
    """The script's optimizer, its start, and what is put in its place."""

    def __init__(self, optimizer: Optimizer, naming: Naming, box: Tensors, load: Callable[[str], Tensors]) -> None:
        self.optimizer = ref(optimizer)
        self._naming = naming
        self.batch = load("batch")
        self._start = _state_of(optimizer)
        self._buffers = [(b, b.clone()) for r in naming.roots if (root := r()) is not None for b in root.buffers()]
        failed = load("failed")
        self._weights = {"snapshot": box, "failed": failed or box, "start": self._start_weights()}
        state = load("optimizer")
        self._state = {"snapshot": state, "failed": load("failed_optimizer") if failed else state}

    def _start_weights(self) -> Tensors:
        return {name: p.detach().clone() for name, p in self._parameters()}

    def _parameters(self) -> Iterator[tuple[str, Tensor]]:
        optimizer = self.optimizer()
        if optimizer is not None:
            parameters = (p for group in optimizer.param_groups for p in group["params"])
            yield from zip(self._naming.names, parameters, strict=True)

    def names_by_id(self) -> dict[int, str]:
        return {id(p): name for name, p in self._parameters()}

    @torch.no_grad()
    def set(self, weights: str) -> None:
        """Put these weights in, the optimizer's state that belongs to them, and the buffers of the start."""
        optimizer = self.optimizer()
        assert optimizer is not None
        for buffer, start in self._buffers:
            buffer.copy_(start)
        for i, (name, p) in enumerate(self._parameters()):
            p.copy_(self._weights[weights][name])
            p.grad = None
            state = self._start[i] if weights == "start" else self._kept_state(weights, name, p)
            if state or optimizer.state.get(p):
                optimizer.state[p] = {key: v.clone() if isinstance(v, Tensor) else v for key, v in state.items()}

    def _kept_state(self, weights: str, name: str, p: Tensor) -> dict[str, Any]:
        start = f"{name}/"
        found = {key.removeprefix(start): t for key, t in self._state[weights].items() if key.startswith(start)}
        return {key: t if t.dim() == 0 else t.to(p.device) for key, t in found.items()}

    def gradient_norms(self) -> Iterator[tuple[str, float]]:
        for name, p in self._parameters():
            if p.grad is not None:
                yield name, careful_norm(p.grad)

    def g2_over_v(self) -> Iterator[tuple[str, float]]:
        """Root of mean(g^2 / v_hat) by tensor, v_hat after this step, as the record has it; 1 is usual."""
        optimizer = self.optimizer()
        if optimizer is None:
            return
        groups = [group for group in optimizer.param_groups if isinstance(group.get("betas"), (tuple, list))]
        betas = {id(p): group["betas"][1] for group in groups for p in group["params"]}
        for name, p in self._parameters():
            state = optimizer.state.get(p, {})
            if p.grad is None or id(p) not in betas or "exp_avg_sq" not in state or "step" not in state:
                continue
            beta, step = float(betas[id(p)]), float(state["step"]) + 1
            square = p.grad.double().square()
            v = (beta * state["exp_avg_sq"].double() + (1 - beta) * square) / (1 - beta**step)
            ratio = math.sqrt(float((square / v.clamp_min(1e-300)).mean()))
            if math.isfinite(ratio):
                yield name, ratio


def find_stage(optimizers: list[Optimizer], box: str) -> Stage | None:
    """The optimizer whose tensors have the names and shapes of the black box's weights."""

    def load(part: str) -> Tensors:
        from safetensors.torch import load_file

        path = os.path.join(box, f"{part}.safetensors")
        return load_file(path) if os.path.exists(path) else {}

    weights = load("weights")
    shapes = {name: t.shape for name, t in weights.items()}
    for optimizer in optimizers:
        naming = name_parameters(optimizer)
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        if shapes == {name: p.shape for name, p in zip(naming.names, parameters, strict=True)}:
            return Stage(optimizer, naming, weights, load)
    return None


def _state_of(optimizer: Optimizer) -> list[dict[str, Any]]:
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    return [dict(optimizer.state[p]) if p in optimizer.state else {} for p in parameters]


def _plain(value: float | None) -> float | str | None:
    """A number as strict JSON has it."""
    return value if value is None or math.isfinite(value) else str(value)


def _plain_tree(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain_tree(item) for key, item in value.items()}
    return _plain(value) if isinstance(value, float) else value
