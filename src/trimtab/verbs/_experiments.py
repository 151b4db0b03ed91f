"""What the experiments of a replay say: whether the event happened again, and whether batch or weights are to blame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from trimtab._language import t
from trimtab.runs import Record, Series

Experiment = dict[str, Any]

ALIKE = 0.01
"""A loss counts as the recorded one within this share of it: another order of sums may change the last digits."""
BLOW_UP = 1000.0
"""A loss of so many times the first is a training lost."""


def is_event(experiment: Experiment, event: dict[str, Any], recorded: dict[str, float | None]) -> bool:
    """Whether an experiment shows what the event was."""
    kind = event.get("kind")
    if kind == "exception":
        return experiment.get("exception") == event.get("type")
    if kind == "nonfinite":
        return bool(experiment.get("nonfinite"))
    loss, first = _number(experiment.get("loss")), recorded.get("first_loss")
    was = event.get("loss")
    if loss is None or not isinstance(was, int | float):
        return False
    if not np.isfinite(was):
        return not np.isfinite(loss)
    lost = not np.isfinite(loss) or (first is not None and abs(loss) > BLOW_UP * abs(first))
    return lost or abs(loss - was) <= ALIKE * abs(was)


def read_split(
    experiments: Sequence[Experiment], event: dict[str, Any], recorded: dict[str, float | None]
) -> list[str]:
    """Bad batch or bad state: what tells the one from the other."""
    bad = {(e["weights"], e["batch"]): is_event(e, event, recorded) for e in experiments}
    kept_at_start, other_on_failed = bad.get(("start", "kept")), bad.get(("failed", "script"))
    kept_on_failed, usual = bad.get(("failed", "kept")), bad.get(("start", "script"))
    if usual:
        return [t("It happens with the first batch on the first weights too: neither this batch nor what was learnt "
                  "is to blame, but the model, the loss or the data as a whole.")]  # fmt: skip
    if kept_on_failed is None:
        if other_on_failed:
            return [t("Another batch does the same on these weights: the weights are to blame, not one batch.")]
        if other_on_failed is False:
            return [t("Another batch is harmless on the weights that failed: the batch of that step is suspect.")]
        return []
    if not kept_on_failed:
        return []
    if kept_at_start and other_on_failed is False:
        return [t("The batch is to blame: it does the same on the weights of the start, and another batch does not "
                  "on the weights that failed.")]  # fmt: skip
    if kept_at_start is False and other_on_failed:
        return [t("The weights are to blame: another batch does the same on them, and on the weights of the start "
                  "this batch is harmless.")]  # fmt: skip
    if kept_at_start is False and other_on_failed is False:
        return [t("It takes both: this batch is harmless on the weights of the start, and another batch on the "
                  "weights that failed.")]  # fmt: skip
    return []


def recorded_numbers(record: Record, event: dict[str, Any]) -> dict[str, float | None]:
    """Loss and gradient norm of the step that failed, the first loss, and the largest g2_over_v of the last sampled
    step before, of the optimizer with these tensors."""
    tensors = set(event.get("tensors") or ())
    numbers: dict[str, float | None] = dict.fromkeys(("loss", "grad_norm", "first_loss", "g2_over_v"))
    step = event.get("failed_step")
    series = [s for s in record.series() if tensors <= _names_of(s.info) or not s.info]
    if len(series) != 1 or step is None:
        return numbers
    rows = series[0].steps
    at = np.flatnonzero(rows["step"] == step)
    if len(at):
        numbers |= {"loss": float(rows["loss"][at[0]]), "grad_norm": float(rows["grad_norm_raw"][at[0]])}
    if len(rows["loss"]):
        numbers["first_loss"] = float(rows["loss"][0])
    return numbers | {"g2_over_v": _largest_g2_over_v(series[0], step)}


def _largest_g2_over_v(series: Series, step: int) -> float | None:
    earlier = series.sampled_steps[series.sampled_steps < step]
    ratios = series.tensors(int(earlier[-1]))["g2_over_v"] if len(earlier) else np.array([])
    ratios = ratios[np.isfinite(ratios)]
    return float(ratios.max()) if len(ratios) else None


def _names_of(info: dict[str, Any]) -> set[str]:
    tensors = info.get("tensors")
    return {str(x.get("name")) for x in tensors if isinstance(x, dict)} if isinstance(tensors, list) else set()


def _number(value: Any) -> float | None:
    try:
        return None if value is None else float(value)
    except (TypeError, ValueError):
        return None
