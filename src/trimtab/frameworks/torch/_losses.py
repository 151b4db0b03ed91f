"""What the loss function was given: kind of loss, classes, chance level, ranges of outputs and targets.

The loss functions are wrapped where every route to them ends, at the compiled functions that
`torch.nn.functional` and the loss modules call, so it does not matter how a script imported them.
TorchScript is told that the wrapper means the same operator, and a compiler traces through it.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from .._guard import Guard
from .._patches import Patches
from ._loss_facts import as_rows, broadcast_against_each_other, label_accuracy, output_facts, value_facts, values_of
from ._passed import activation_passed

_NN = torch._C._nn
# (where the function is found, its name there, our name for the loss)
FUNCTIONS: tuple[tuple[Any, str, str], ...] = (
    (_NN, "cross_entropy_loss", "cross_entropy"),
    (_NN, "nll_loss_nd", "nll"),
    (_NN, "binary_cross_entropy", "bce"),
    (torch, "binary_cross_entropy_with_logits", "bce_logits"),
    (_NN, "mse_loss", "mse"),
    (_NN, "l1_loss", "l1"),
    (_NN, "smooth_l1_loss", "smooth_l1"),
    (_NN, "huber_loss", "huber"),
    (torch, "kl_div", "kl_div"),
)
_MEAN = 1  # torch's number for reduction="mean"
_SUM = 2
# Which positional argument holds the reduction.
_REDUCTION_AT = {"cross_entropy": 3, "nll": 3, "bce": 3, "bce_logits": 4, "kl_div": 2}
_REDUCTION_AT |= {"mse": 2, "l1": 2, "smooth_l1": 2, "huber": 2}
# Which one holds the class index that does not count, and what it is unless given.
_IGNORED_AT, _IGNORED = 4, -100
# Which ones hold the weights of classes or entries, and of what is positive.
_WEIGHT_AT, _POS_WEIGHT_AT = 2, 3

MAX_CLASSES = 200_000

_LIBRARY_PATHS = (
    os.path.dirname(torch.__file__) + os.sep,
    os.path.dirname(os.path.dirname(os.path.dirname(__file__))) + os.sep,
)


@dataclass
class Targets:
    """All targets seen so far of one kind of loss, as far as the best constant prediction needs them."""

    counts: Tensor | None = None
    n: float = 0.0
    mean: float = 0.0
    squares: float = 0.0

    def add_labels(self, labels: Tensor, classes: int) -> None:
        self.add_counts(torch.bincount(labels, minlength=classes).double().cpu())

    def add_counts(self, counts: Tensor) -> None:
        """Rows of each class, or sums of their shares."""
        self.counts = counts if self.counts is None or len(self.counts) != len(counts) else self.counts + counts

    def add_values(self, values: Tensor) -> None:
        """Pooled mean and sum of squared deviations (Chan, Golub and LeVeque 1983, equation 2.1)."""
        n = values.numel()
        mean = float(values.double().mean())
        squares = float(values.double().var(correction=0)) * n
        delta, total = mean - self.mean, self.n + n
        self.squares += squares + delta * delta * self.n * n / total
        self.mean += delta * n / total
        self.n = total

    def entropy(self, weight: Tensor | None = None) -> float | None:
        """Of the labels' distribution, in nats; a class not yet seen counts as seen half a time, since
        the entropy of few labels is too low (Krichevsky and Trofimov 1981). `weight`: of each class in the loss, whose
        mean is then a weighted one."""
        if self.counts is None:
            return None
        counts = self.counts + 0.5
        if weight is not None:
            counts = counts * weight.detach().double().cpu()
        shares = counts / counts.sum()
        return float(-torch.xlogy(shares, shares).sum())  # a class of weight 0 adds nothing

    @property
    def labels_seen(self) -> int | None:
        return None if self.counts is None else int(torch.count_nonzero(self.counts))

    @property
    def variance(self) -> float:
        return self.squares / self.n if self.n else math.nan


@dataclass
class LossReader:
    """Wraps the loss functions; reads training losses at sampled steps and validation losses always."""

    guard: Guard
    in_training: Callable[[], bool]
    on_validation: Callable[[tuple[Any, ...], float, int], None]
    rows: list[dict[str, Any]] = field(default_factory=list)
    _sampling: bool = True
    _trained_on: set[str] = field(default_factory=set)
    #: Kinds of loss of which, in training, nothing is to be learnt now.
    _known: set[str] = field(default_factory=set)
    _targets: dict[str, Targets] = field(default_factory=dict)

    def attach(self, patches: Patches) -> None:
        for owner, name, kind in FUNCTIONS:
            original = getattr(owner, name, None)
            if original is not None:
                patches.replace(owner, name, self._wrap(original, kind))

    def switch(self, on: bool) -> None:
        """Read the training losses to come, or no longer."""
        self._sampling = on
        self._known = set() if on else set(self._trained_on)

    def take(self) -> list[dict[str, Any]]:
        rows, self.rows = self.rows, []
        return rows

    def _wrap(self, original: Callable[..., Any], kind: str) -> Callable[..., Any]:
        note = self.guard(self._note)
        is_compiling, is_grad_enabled = torch.compiler.is_compiling, torch.is_grad_enabled

        def loss_function(*args: Any, **kwargs: Any) -> Any:
            loss = original(*args, **kwargs)
            if not (is_compiling() or (kind in self._known and is_grad_enabled())):
                note(kind, args, kwargs, loss)
            return loss

        loss_function.__name__ = getattr(original, "__name__", kind)
        loss_function.__doc__ = original.__doc__
        _tell_torchscript(original, loss_function)
        return loss_function

    def _note(self, kind: str, args: tuple[Any, ...], kwargs: dict[str, Any], loss: Tensor) -> None:
        if type(loss) is not Tensor or len(args) < 2 or torch._C._functorch.peek_interpreter_stack() is not None:
            return
        if torch.is_grad_enabled():
            self._trained_on.add(kind)
            if not self._sampling:
                self._known.add(kind)
            elif loss.requires_grad and len(self.rows) < 16:
                passed = activation_passed(args[0])
                with torch.no_grad():
                    row = self._read(kind, args[0].detach(), args[1].detach(), loss.detach(), *_settings(args, kwargs))
                self.rows.append(row | {"output_after": passed.name})
        elif (kind in self._trained_on or not self._trained_on) and not self.in_training():
            self._validate(kind, args, kwargs, loss)

    def _validate(self, kind: str, args: tuple[Any, ...], kwargs: dict[str, Any], loss: Tensor) -> None:
        rows = _row_count(kind, args[0])
        at = _REDUCTION_AT[kind]
        reduction = kwargs.get("reduction", args[at] if len(args) > at else _MEAN)
        if loss.dim() == 0 and reduction in (_MEAN, _SUM) and rows:
            value = float(loss) / (rows if reduction == _SUM else 1)
            self.on_validation(_call_site(), value, rows)

    def _read(
        self,
        kind: str,
        outputs: Tensor,
        targets: Tensor,
        loss: Tensor,
        ignored: int = _IGNORED,
        weight: Tensor | None = None,
        pos_weight: Tensor | None = None,
    ) -> dict[str, Any]:
        row: dict[str, Any] = {
            "kind": kind,
            "value": float(loss) if loss.dim() == 0 else None,
            "rows": _row_count(kind, outputs),
        }
        if kind in ("cross_entropy", "nll") and not targets.is_floating_point():
            row |= self._read_labels(kind, outputs, targets, ignored, weight)
        else:
            row |= self._read_values(kind, outputs, targets, pos_weight if kind == "bce_logits" else None)
            if weight is not None:
                row.pop("chance", None)  # of entries that count unequally it is not known
        return row | output_facts(kind, outputs)

    def _read_labels(
        self, kind: str, outputs: Tensor, labels: Tensor, ignored: int, weight: Tensor | None
    ) -> dict[str, Any]:
        classes = outputs.shape[1] if outputs.dim() > 1 else outputs.shape[0]
        seen = self._targets.setdefault(f"{kind}/{classes}", Targets())
        flat = labels.reshape(-1)
        valid = flat[(flat >= 0) & (flat < classes)]
        if valid.numel() and classes <= MAX_CLASSES:
            seen.add_labels(valid, classes)
        counted = flat[flat != ignored]
        bounds = counted.aminmax() if counted.numel() else None
        row = {
            "classes": classes,
            "chance": seen.entropy(weight),
            "labels_seen": seen.labels_seen,
            "accuracy": label_accuracy(outputs, labels),
        }
        if bounds is not None:
            row |= {"target_min": float(bounds.min), "target_max": float(bounds.max)}
        return {name: value for name, value in row.items() if value is not None}

    def _read_values(self, kind: str, outputs: Tensor, targets: Tensor, pos_weight: Tensor | None) -> dict[str, Any]:
        if not targets.numel() or targets.is_complex():
            return {}
        values = values_of(targets)
        seen = self._targets.setdefault(kind, Targets())
        seen.add_values(values)
        row: dict[str, Any] = {
            "shapes_differ": broadcast_against_each_other(outputs, targets),
            "target_min": float(values.min()),
            "target_max": float(values.max()),
            "target_mean": float(values.mean()),
            "target_std": float(values.std(correction=0)),
        }
        if kind in ("bce", "bce_logits"):
            row["classes"] = 2
            row["chance"] = _binary_chance(seen.mean, pos_weight)
        elif kind == "mse":
            row["chance"] = seen.variance
        elif kind == "l1":
            row["chance"] = float((values - values.median()).abs().mean())
        elif kind == "cross_entropy" and outputs.shape == targets.shape and outputs.dim() > 1:
            # The best constant answer to rows of shares is their mean, whose loss is its entropy.
            shares = self._targets.setdefault(f"{kind} of shares", Targets())
            shares.add_counts(as_rows(targets).double().sum(0).cpu())
            row |= {"classes": targets.shape[1], "chance": shares.entropy()}
        row |= value_facts(kind, outputs, targets)
        return {name: value for name, value in row.items() if not (name == "chance" and math.isnan(value))}


def _settings(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[int, Tensor | None, Tensor | None]:
    """`ignore_index`, `weight` and `pos_weight`, as far as they are given."""
    given = kwargs.get("ignore_index", args[_IGNORED_AT] if len(args) > _IGNORED_AT else _IGNORED)
    weight = kwargs.get("weight", args[_WEIGHT_AT] if len(args) > _WEIGHT_AT else None)
    pos_weight = kwargs.get("pos_weight", args[_POS_WEIGHT_AT] if len(args) > _POS_WEIGHT_AT else None)
    return (
        given if isinstance(given, int) else _IGNORED,
        weight if isinstance(weight, Tensor) else None,
        pos_weight if isinstance(pos_weight, Tensor) else None,
    )


def _row_count(kind: str, outputs: Tensor) -> int:
    if kind in ("cross_entropy", "nll") and outputs.dim() > 1:
        return outputs.numel() // max(1, outputs.shape[1])
    return int(outputs.shape[0]) if kind == "kl_div" and outputs.dim() else outputs.numel()


def _binary_chance(p: float, pos_weight: Tensor | None) -> float:
    """The least of w p (-log q) + (1 - p) (-log(1 - q)) over constant answers q, p the share of positives and w their
    weight; NaN where each output has a weight of its own."""
    if not 0 < p < 1:
        return 0.0 if p in (0, 1) else math.nan
    if pos_weight is not None and pos_weight.numel() > 1:
        return math.nan
    positive = p if pos_weight is None else p * float(pos_weight)
    negative = 1 - p
    q = positive / (positive + negative)
    return -positive * math.log(q) - negative * math.log(1 - q) if 0 < q < 1 else 0.0


def _call_site() -> tuple[Any, ...]:
    """Which line of the script, through which callers, asked for this loss: one key per validation loop."""
    site: list[Any] = []
    frame = sys._getframe(1).f_back
    while frame is not None and len(site) < 40:
        if not frame.f_code.co_filename.startswith(_LIBRARY_PATHS):
            site.append((frame.f_code, frame.f_lasti))
        frame = frame.f_back
    return tuple(site)


def _tell_torchscript(original: Callable[..., Any], wrapper: Callable[..., Any]) -> None:
    from torch.jit import _builtins

    operator = _builtins._find_builtin(original)  # type: ignore[no-untyped-call]
    if operator is not None:
        _builtins._register_builtin(wrapper, operator)
