"""Healthy trainings, whatever their noise, have no finding above a note."""

from __future__ import annotations

import numpy as np
import pytest

from trimtab.findings import at_least, judge

from ._curves import CURVES
from ._planted import PlantedRecord, record, series, table

RUNS = 40


def healthy(curve: object, seed: int) -> PlantedRecord:
    """A run on this curve: gradients with tails of their own, steps of a thousandth of the weights, a validation."""
    rng = np.random.default_rng(seed)
    n = int(np.exp(rng.uniform(np.log(20), np.log(3000))))
    loss = curve(rng, n)  # type: ignore[operator]
    norms = np.exp(float(rng.uniform(0.1, 0.6)) * rng.standard_t(4, n)) * np.sqrt(np.maximum(loss, 1e-9))
    tensors = {
        s: table("tensors", 1, tensor="w", grad_norm=float(norms[s]), update_norm=1e-3 * 5, weight_norm=5.0)
        for s in range(0, n, 16)
    }
    times = np.linspace(0.2, 1.0, 12) * n * 0.01
    smooth = np.median(np.lib.stride_tricks.sliding_window_view(loss, 15), axis=1)  # many rows, and no bad batch
    valid = np.interp(times, 0.01 * np.arange(len(smooth)), smooth) + 0.05
    valid = valid * np.exp(0.03 * rng.standard_normal(12))
    return record(
        series(loss, grad_norm=norms, tensors=tensors, chance=2.3 if seed % 3 else None),
        metrics={"val_loss": (times, valid)},
    )


@pytest.mark.parametrize("curve", CURVES, ids=lambda c: c.__name__)
def test_no_healthy_run_has_a_finding_above_a_note(curve):
    alarms = []
    for seed in range(RUNS):
        run = healthy(curve, seed)
        for live in (False, True):
            found = [f for f in judge(run, live=live).findings if at_least(f.severity, "warning")]
            alarms += [(seed, live, f.kind, f.says) for f in found]
    assert len(alarms) <= RUNS // 100, alarms
