"""Watches every PyTorch training of a process: the optimizer's steps, and all that is known at each."""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any
from weakref import WeakSet, WeakValueDictionary, ref

import torch
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from .._clock import SamplingClock
from .._guard import Guard
from .._outbox import Outbox, Session
from .._patches import Patches
from .._seen_rows import SeenRows
from ._backward import BackwardReader
from ._batch import BatchKeeper
from ._clips import ClipCall, ClipReader
from ._closures import closure_of, followed, with_closure
from ._failures import FailureTeller
from ._guards import Guards
from ._losses import LossReader
from ._modules import ModuleReader
from ._norms import Reading, dense_values
from ._optimizers import StepRow, WatchedOptimizer
from ._row_readers import RowReader
from ._scaler import ScalerReader
from ._validation import ValidationPasses

Optimizer = torch.optim.Optimizer


class TorchWatch:
    """All hooks into PyTorch, and the state that they share."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._started = session.started
        self._outbox = Outbox(session)
        self._found: dict[int, tuple[ref[Optimizer], WatchedOptimizer]] = {}
        self._every: list[WatchedOptimizer] = []
        self._made: WeakSet[Optimizer] = WeakSet()
        self._trained: WeakValueDictionary[int, Tensor] = WeakValueDictionary()
        self._newest: WatchedOptimizer | None = None
        self._follows: Any = None
        self._beside: Any = None
        self._said: set[str] = set()
        self._guard = Guard(session, "PyTorch")
        self._patches = Patches()
        self._clock = SamplingClock()
        self._scaler = ScalerReader(self._guard, self._step_withheld)
        self._backward = BackwardReader(
            self._guard, self._scaler, self._clock, self._alive, self._parameter_names, self._note_blow_up
        )
        seen = SeenRows(session)
        self._rows = RowReader(self._guard, seen, lambda: self._newest is not None)
        self._modules = ModuleReader(self._guard, self._backward, self._say_compiled, self._rows.of_training)
        self._validation = ValidationPasses(session, seen, self._rows)
        self._losses = LossReader(self._guard, self._any_in_training, self._validation.add)
        self._clips = ClipReader(self._guard, self._note_clip)
        self.guards = Guards(session.policies, self._say_unseen)
        self._batch = BatchKeeper(self._guard, self._position) if session.keeps_batch else None

    def attach(self) -> None:
        """Begin to watch. Called once, when PyTorch has been imported."""
        self._session.on_exit(self._guard(self._at_exit))
        self._session.on_fork(self._guard(self._in_child))
        self._session.describe(torch={"version": torch.__version__, "threads": torch.get_num_threads()})
        self.hook()

    def hook(self, sampling: bool = True) -> None:
        """Install every hook. Without `sampling` only what is recorded at every step is measured."""
        for reader in (self._clips, self._scaler, self._losses, self._backward, self._modules, self._rows):
            reader.attach(self._patches)
        if self._batch is not None:
            self._batch.attach(self._patches)
        self._wrap_construction()
        self._before = self._before_step()
        self._patches.add(register_optimizer_step_pre_hook(self._before))
        self._after = self._guard(self._after_step)
        self._clock.resume(self._now(), sampling)
        self._sample(self._clock.on)

    def detach(self) -> None:
        """Take every hook away again."""
        self._modules.switch(False)
        self._follow(False)
        self._patches.undo()

    @property
    def snapshot_seconds(self) -> float:
        """Time that copies for the black box have taken."""
        return sum(watched.failures.keeper.seconds for watched in self._every)

    def guard_anew(self, optimizer: Optimizer) -> None:
        """Other policies guard this optimizer now."""
        entry = self._found.get(id(optimizer))
        if entry is not None:
            entry[1].send()
            self.guards.give(entry[1], optimizer)
            self._describe()

    # Steps of optimizers that are not `torch.optim`'s, but stand in for themselves with `param_groups` and `state`.

    def read_beside(self, reader: Any) -> None:
        """Have a reader of its own (`switch`, `take`, `skipped`) see modules of another kind, and their losses."""
        self._beside = reader
        self._modules.skipped = reader.skipped
        reader.switch(self._clock.on)

    @property
    def is_sampling(self) -> bool:
        return self._clock.on

    @property
    def loss_scale(self) -> float | Tensor:
        return self._scaler.scale

    def restart(self) -> None:
        """The step to come is the first of a training."""
        if self._batch is not None:
            self._batch.restart()
        self._clock.restart()
        self._sample(True)

    def before_step(self, optimizer: Any) -> None:
        self._before(optimizer, (optimizer,), {})

    def after_step(self, optimizer: Any) -> None:
        self._after(optimizer, (), {})

    def step_withheld(self, optimizer: Any) -> None:
        self._step_withheld(optimizer)

    def note_scaled(self, loss: Tensor, factor: float) -> None:
        """`loss` is about to be differentiated, and was multiplied by `factor`."""
        self._scaler.note(loss, factor)

    def note_clip(self, parameters: list[Tensor], factor: float | None) -> None:
        """The gradients of `parameters` are about to be clipped: multiplied by `factor`, where it is known."""
        self._clips.read(parameters, factor)

    # The optimizer's step.

    def _before_step(self) -> Callable[..., Any]:
        """The hook before every step. It is its own guard, since here every microsecond is paid at every step."""
        guard, clock, window, scaler = self._guard, self._clock, self._backward.window, self._scaler
        validation, full_step, find, started = self._validation, self._full_step, self._find, self._started
        failed = False

        def before_step(optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            nonlocal failed
            if failed:
                return None
            began = monotonic()
            try:
                watched = find(optimizer)
                if clock.on or scaler.is_used or validation.is_under_way or watched.pending is not None:
                    return full_step(watched, optimizer, args, kwargs)
                if kwargs or len(args) > 1:
                    return self._quick_closure(watched, optimizer, args, kwargs)
                if window.clips or not watched.quick_step(optimizer, window.losses, began - started, guard.seconds):
                    return full_step(watched, optimizer, args, kwargs)
                guard.seconds = 0.0
                self._end_quick(watched, began - started)
                if watched.guard is not None and self.guards.act_quickly(watched, optimizer):
                    self._follow(True)
            except Exception:
                failed = True
                guard.complain(full_step)
            finally:
                guard.seconds += monotonic() - began
            return None

        return before_step

    def _end_quick(self, watched: WatchedOptimizer, now: float) -> None:
        if self._follows is not None:
            self._follow(False)
        self._backward.window.stepped = True
        self._newest = watched
        clock = self._clock
        clock.left -= 1
        if clock.left <= 0:
            clock.end_quiet(now)
            self._sample(True)

    def _full_step(
        self, watched: WatchedOptimizer, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """A step that is sampled, has a clip or a scaler, or of which anything else is out of the common."""
        self._follow(True)
        if watched.pending is not None:
            if _steps_under_way(optimizer) > 1:
                watched.depth += 1
                watched.nests = True
                return None
            watched.finish_step()  # the step before ended in an exception
        watched.depth = 0
        self.guards.begin(watched, optimizer)
        self._scaler.note_step(optimizer)
        closure = closure_of(args, kwargs)
        if closure is not None:
            self.guards.before_closure(watched, optimizer)
            return with_closure(
                args, kwargs, followed(closure, self._guard(self._after_evaluation), watched, optimizer)
            )
        self._measure(watched, optimizer)
        self.guards.act(watched, optimizer)
        return None

    def _follow(self, on: bool) -> None:
        """Hook the ends of steps too, or no longer. Not to be called at the end of one: torch is iterating over
        the hooks then."""
        if on and self._follows is None:
            self._follows = register_optimizer_step_post_hook(self._after)
        elif not on and self._follows is not None:
            self._follows.remove()
            self._follows = None

    def _after_evaluation(self, watched: WatchedOptimizer, optimizer: Optimizer) -> None:
        """Read the gradients after the closure's first evaluation, before anything is changed."""
        if watched.pending is None:
            self._measure(watched, optimizer)
        self.guards.act(watched, optimizer)
        if watched.pending is not None:
            watched.pending.evaluations += 1

    def _quick_closure(
        self, watched: WatchedOptimizer, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """A step of which nothing but the norms is wanted, by an optimizer that evaluates its closure once."""
        closure = closure_of(args, kwargs)
        if closure is None or not watched.evaluates_once or watched.guard is not None:
            return self._full_step(watched, optimizer, args, kwargs)
        noted = False

        def note(watched: WatchedOptimizer, optimizer: Optimizer) -> None:
            nonlocal noted
            window, now = self._backward.window, self._now()
            if noted:
                watched.evaluated_again()
                window.stepped = True  # its losses are this step's too
            elif (
                watched.pending is None
                and not (window.clips or self._scaler.is_used or self._validation.is_under_way)
                and watched.quick_step(optimizer, window.losses, now, self._guard.seconds, evaluations=1)
            ):
                noted = True
                self._guard.seconds = 0.0
                self._end_quick(watched, now)
            else:
                self._follow(True)
                self._after_evaluation(watched, optimizer)

        return with_closure(args, kwargs, followed(closure, self._guard(note), watched, optimizer))

    @torch.no_grad()
    def _measure(self, watched: WatchedOptimizer, optimizer: Optimizer) -> None:
        self._validation.end()
        groups = optimizer.param_groups
        every = [p.grad for group in groups for p in group["params"]]
        if len(every) != watched.parameters:
            watched.send()
            watched.rename(optimizer)
            self.guards.give(watched, optimizer)
            self._describe()
        grads = [g for g in every if g is not None]
        if watched.is_sharded:
            grads = [dense_values(g) for g in grads]
        present = None if len(grads) == len(every) else [i for i, g in enumerate(every) if g is not None]
        reading, raw, factor = self._read(watched, groups, grads, present)
        lr = groups[0].get("lr", math.nan)
        watched.pending = row = StepRow(
            step=watched.steps,
            time=self._now(),
            losses=list(self._backward.window.losses),
            lr=lr,
            lr_max=lr if len(groups) == 1 else max(float(group.get("lr", math.nan)) for group in groups),
            reading=reading,
            raw=raw,
            clip_factor=factor,
            grad_scale=self._scaler.still_in_gradients(optimizer),
            loss_scale=self._scaler.scale,
            sampled=self._clock.on,
            skipped=self._scaler.found_inf(optimizer),
        )
        watched.steps += 1
        fixes = (raw or reading).fixes
        lost = bool(fixes) and not all(map(math.isfinite, fixes.values()))
        if self._batch is not None and not lost:  # on a device: later the batch would be gone
            lost = not all(map(math.isfinite, (raw or reading).norms()))
        if lost:
            parameters = [p for group in groups for p in group["params"]]
            weights = dict(zip(watched.naming.names, parameters, strict=True))
            watched.failures.keeper.follow(optimizer, watched.naming.names)
            watched.tell_nonfinite(row, (raw or reading).norms(), self._backward.window.forward, weights)
        if row.sampled:
            parameters = [p for group in groups for p in group["params"] if p.grad is not None]
            row.samples = watched.sampler.before(parameters, grads)
            if not lost:
                watched.failures.keeper.maybe_copy(optimizer, row.step, watched.naming.names)

    def _read(
        self,
        watched: WatchedOptimizer,
        groups: list[dict[str, Any]],
        grads: list[Tensor],
        present: list[int] | None,
    ) -> tuple[Reading, Reading | None, float | None]:
        """The norms as the optimizer gets them, and the raw ones where the script has clipped.

        Where one clip covered just these gradients its raw norms and its factor say all, and the
        gradients are not read again (but they are at sampled steps).
        """
        clips = self._backward.window.clips
        if not clips:
            return watched.read(grads, present), None, None
        ids = [id(p) for group in groups for p in group["params"] if p.grad is not None]
        if len(clips) == 1 and clips[0].ids == ids and clips[0].factor is not None and not self._clock.on:
            watched.expect(present)
            return clips[0].raw, None, clips[0].factor
        reading = watched.read(grads, present)
        raw_by_id: dict[int, float] = {}
        for call in clips:
            for key, norm in zip(call.ids, call.raw.norms(), strict=True):
                raw_by_id.setdefault(key, float(norm))
        if raw_by_id.keys().isdisjoint(ids):
            return reading, None, None
        norms = reading.norms()
        return reading, Reading(None, [], {i: raw_by_id.get(key, float(norms[i])) for i, key in enumerate(ids)}), None

    def _after_step(self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        watched = self._find(optimizer)
        if watched.depth:
            watched.depth -= 1
            return
        self.guards.restore(watched, optimizer)
        row = watched.pending
        if row is None:
            return
        if row.samples:
            parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
            if len(parameters) == len(row.samples["weight_norm"]):
                with torch.no_grad():
                    row.samples |= watched.sampler.after(optimizer, parameters)
        self._close_window(watched, row)

    def _step_withheld(self, optimizer: Optimizer) -> None:
        """A gradient scaler kept the optimizer from stepping: a row all the same, marked as skipped."""
        watched = self._find(optimizer)
        self._measure(watched, optimizer)
        if watched.pending is not None:
            watched.pending.skipped = True
            watched.pending.samples = {}
            self.guards.withheld(watched, optimizer)
            self._close_window(watched, watched.pending)

    def _close_window(self, watched: WatchedOptimizer, row: StepRow) -> None:
        if row.sampled:
            modules, losses = self._take()
            watched.send_modules(row, modules)
            alone = self._newest in (None, watched) or row.step == 0
            watched.send_loss(row, losses, self._backward.window.leftover.get(watched.index), alone)
        watched.pending = None
        watched.evaluates_once = row.evaluations == 1
        self._end_window(watched, row)
        watched.note(row)

    def _end_window(self, watched: WatchedOptimizer, row: StepRow) -> None:
        """`row` is complete; from here on is what leads to the next step."""
        self._newest = watched
        window = self._backward.window
        window.stepped = True
        if window.clips:
            window.clips = []
        row.watch_seconds, self._guard.seconds = self._guard.seconds, 0.0
        clock = self._clock
        if clock.on:
            clock.end_sampled(watched.index, row.time, row.watch_seconds)
            self._sample(clock.on)
        else:
            clock.left -= 1
            if clock.left <= 0:
                clock.end_quiet(row.time)
                self._sample(True)

    def _note_clip(self, call: ClipCall) -> None:
        self._backward.window.clips.append(call)

    # What is known of the optimizers.

    def _find(self, optimizer: Optimizer) -> WatchedOptimizer:
        entry = self._found.get(id(optimizer))
        if entry is not None and entry[0]() is optimizer:
            return entry[1]
        if self._backward.under_way:
            self._say_unseen(
                "optimizer in backward",
                "An optimizer steps inside the backward pass: no moment exists at which all gradients are there, "
                "so every such optimizer is recorded by itself.",
            )
        watched = WatchedOptimizer(
            len(self._every), optimizer, self._outbox, FailureTeller(self._session, self._scaler, self._batch)
        )
        self.guards.give(watched, optimizer)
        if not self._every:
            self._session.position = self._position
        self._found[id(optimizer)] = (ref(optimizer), watched)
        self._every.append(watched)
        self._describe()
        if watched.is_sharded:
            self._say_unseen(
                "the whole of sharded tensors",
                "Parameters are sharded over processes: norms are those of the part that this process holds.",
            )
        return watched

    def _alive(self) -> Iterator[tuple[int, Optimizer]]:
        for r, watched in self._found.values():
            if (optimizer := r()) is not None:
                yield watched.index, optimizer

    def _describe(self) -> None:
        self._made.update(optimizer for _, optimizer in self._alive())
        groups = [group for optimizer in self._made for group in optimizer.param_groups]
        self._trained.update((id(p), p) for group in groups for p in group["params"])
        for watched in self._every:
            watched.untrained.leave_out(self._trained)
        self._session.describe(optimizers=[watched.info for watched in self._every])

    def _parameter_names(self) -> dict[int, str]:
        names: dict[int, str] = {}
        for index, optimizer in self._alive():
            parameters = (p for group in optimizer.param_groups for p in group["params"])
            names |= {id(p): name for p, name in zip(parameters, self._every[index].naming.names, strict=False)}
        return names

    def _any_in_training(self) -> bool:
        roots = (r() for watched in self._every for r in watched.naming.roots)
        return any(root is not None and root.training for root in roots)

    # Beginning and end.

    def _wrap_construction(self) -> None:
        """A new optimizer: the step to come is the first of a training, and is sampled in full."""
        original = Optimizer.__init__
        restart = self._guard(self._restart_sampling)

        @functools.wraps(original)
        def init(optimizer: Optimizer, *args: Any, **kwargs: Any) -> None:
            original(optimizer, *args, **kwargs)
            restart(optimizer)

        self._patches.replace(Optimizer, "__init__", init)

    def _restart_sampling(self, optimizer: Optimizer) -> None:
        self._made.add(optimizer)
        self.restart()

    def _sample(self, on: bool) -> None:
        self._losses.switch(on)
        self._modules.switch(on)
        if self._beside is not None:
            self._beside.switch(on)

    def _take(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Rows of modules and of losses that were read since the last time."""
        modules, losses = self._modules.take(), self._losses.take()
        if self._beside is None:
            return modules, losses
        others, their_losses = self._beside.take()
        return modules + others, their_losses or losses

    def _at_exit(self) -> None:
        self._validation.end()
        for watched in self._every:
            watched.finish_step()
            watched.send()
        if self._newest is not None:
            self._newest.failures.exception(self._newest.steps)
        if self._backward.passes and not self._every:
            self._say_unseen(
                "no step",
                f"The backward pass ran {self._backward.passes} times, but no step of a torch.optim optimizer was "
                "seen: optimizer.step() may be missing, compiled (torch.compile of the step), or written by hand.",
            )

    def _note_blow_up(self, loss: float) -> None:
        if self._newest is not None:
            self._newest.failures.blow_up(self._newest.steps, loss)

    def _say_unseen(self, what: str, why: str) -> None:
        if what not in self._said:
            self._said.add(what)
            self._session.event("unseen", what=what, why=why)

    def _say_compiled(self) -> None:
        self._rows.stop()
        self._say_unseen(
            "module outputs",
            "torch.compile is used: outputs of modules and their gradients are not measured, since hooks would "
            "make it compile anew. Gradients, weights, updates and losses are.",
        )

    def _in_child(self) -> None:
        """A forked child: what is not yet sent is its parent's; its own optimizers are found as they step."""
        self._found.clear()
        self._every.clear()
        self._newest = None
        self._backward.window.restart()

    def _position(self) -> tuple[int, int]:
        return (-1, -1) if self._newest is None else (self._newest.index, self._newest.steps - 1)

    def _now(self) -> float:
        return monotonic() - self._started


def _steps_under_way(optimizer: Optimizer) -> int:
    """How many calls of this optimizer's (hooked) step are on the stack: 2 where a subclass calls super().step()."""
    count = 0
    frame = sys._getframe()
    while (caller := frame.f_back) is not None:
        frame = caller
        if frame.f_code.co_name == "wrapper" and frame.f_globals.get("__name__") == "torch.optim.optimizer":
            count += frame.f_locals.get("self") is optimizer
    return count
