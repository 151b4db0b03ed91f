"""What the policies of a guarded training did, and where they may hide a fault."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .._language import t
from ..policies import parse_policy
from ._finding import Guarded
from ._history import RecordLike, Track
from .causes._learning_rate import ALWAYS

#: More steps than this left out, and something is wrong with the training. Set by hand: in 988 healthy trainings
#: `skip=spike` left out 8 of 234,000 steps (docs/policies.md).
MANY_SKIPPED = 0.01
LEAST_STEPS = 20


def guarded(record: RecordLike, tracks: Sequence[Track]) -> tuple[Guarded, ...]:
    """Every policy in force, in its order; of several ranks, which all do the same, the first one's."""
    mine = [track for track in tracks if track.process == tracks[0].process]
    names = dict.fromkeys(str(name) for track in mine for name in track.series.info.get("policies") or ())
    if not names:
        return ()
    rows = record.guard()
    here = np.asarray(rows["process"]) == mine[0].process
    policies = np.asarray([str(policy) for policy in rows["policy"]])
    return tuple(_one(name, mine, rows, here & (policies == name)) for name in names)


def _one(policy: str, tracks: Sequence[Track], rows: Mapping[str, Any], chosen: np.ndarray[Any, Any]) -> Guarded:
    steps = sum(len(track) for track in tracks if policy in (track.series.info.get("policies") or ()))
    acted, skipped = int(chosen.sum()), int(np.asarray(rows["skipped"], bool)[chosen].sum())
    scales, rates = (_known(rows, name, chosen) for name in ("scale", "lr_scale"))
    back = int(np.sum(np.asarray(rows["back_to"])[chosen] >= 0))
    return Guarded(
        policy=policy,
        steps=steps,
        acted=acted,
        skipped=skipped,
        least_scale=float(scales.min(initial=1.0)),
        least_lr_scale=float(rates.min(initial=1.0)),
        went_back=back,
        warns=_returns_warning(policy, back) if back else _warning(policy, steps, skipped, scales),
    )


def _known(rows: Mapping[str, Any], name: str, chosen: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    values: np.ndarray[Any, Any] = np.asarray(rows[name], np.float64)[chosen]
    return np.asarray(values[np.isfinite(values)])


def _returns_warning(policy: str, count: int) -> str:
    if count < 2:
        return ""
    return t(
        "{policy} went back {count} times: what breaks the weights comes again. What the findings name as its cause is "
        "to be changed",
        policy=policy,
        count=count,
    )


def _warning(policy: str, steps: int, skipped: int, scales: np.ndarray[Any, Any]) -> str:
    if skipped > 1 and skipped > MANY_SKIPPED * steps:
        return t(
            "{policy} left out {share} of the steps: it hides a fault that comes back. What the findings name as "
            "its cause is to be changed",
            policy=policy,
            share=f"{skipped / steps:.0%}" if skipped >= 0.02 * steps else f"{skipped / steps:.1%}",
        )
    if steps >= LEAST_STEPS and len(scales) >= ALWAYS * steps and _has_threshold(policy):
        return t(
            "{policy} scaled {share} of the steps, to {factor} of their length as a rule: how long a step is no longer "
            "depends on the gradient. A threshold near the usual norm leaves the usual step alone",
            policy=policy,
            share=f"{len(scales) / steps:.0%}",
            factor=f"{np.median(scales):.2g}",
        )
    return ""


def _has_threshold(policy: str) -> bool:
    """It bounds the gradient by a number that was given, not by the gradients before."""
    known = parse_policy(policy)
    return known.bounds and not known.compares and not known.undoes
