"""What a training may be beside a long one with a positive loss: each gets an honest judgement, and soon."""

from __future__ import annotations

import numpy as np
import pytest

from trimtab.findings import OUTCOMES, at_least, judge

from ._planted import PlantedSeries, falling, over_depth, record, series, table


class Everywhere(dict):
    """The same rows at whatever step is asked for; counts how often."""

    def __init__(self, rows: dict[str, np.ndarray]) -> None:
        super().__init__()
        self.rows = rows
        self.reads = 0

    def get(self, key: object, default: object = None) -> dict[str, np.ndarray]:
        self.reads += 1
        return self.rows


def actor_and_critic() -> list[PlantedSeries]:
    rng = np.random.default_rng(0)
    actor = series(0.01 * rng.standard_normal(300), chance=None)
    critic = series(np.exp(rng.standard_normal(300)), chance=None, optimizer=1, start=0.001)
    return [actor, critic]


def gan() -> list[PlantedSeries]:
    rng = np.random.default_rng(0)
    d = series(0.7 + 0.1 * rng.standard_normal(300), chance=0.69, losses={"output_spread": 0.0})
    return [d, series(np.linspace(0.7, 8, 300), chance=0.69, optimizer=1, start=0.005)]


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize(
    ("planted", "outcome"),
    [
        ([], "unjudged"),
        ([series(None, steps=0)], "unjudged"),
        ([series([2.3])], "unjudged"),
        ([series([np.inf])], None),
        ([series(None, steps=50)], "unjudged"),
        ([series(np.zeros(300), chance=None)], "unjudged"),
        ([series(np.zeros(300), chance=0.0)], "unjudged"),
        ([series(-falling(300), chance=None)], None),
        ([series(np.random.default_rng(0).standard_normal(3000), chance=None)], "unjudged"),
        (actor_and_critic(), "unjudged"),
        (gan(), "unjudged"),
        ([series(falling(100), optimizer=i, start=2.0 * i) for i in range(3)], "trained"),
    ],
    ids=["no steps", "empty", "one", "one, infinite", "no loss", "zero", "zero, chance 0", "negative", "about zero",
         "actor-critic", "GAN", "three in turn"],
)  # fmt: skip
def test_each_has_a_judgement_and_none_a_false_alarm(planted, outcome, live):
    verdict = judge(record(*[p for p in planted if len(p.steps["step"])]), live=live)
    assert verdict.outcome in OUTCOMES
    if outcome is not None:
        assert not [f for f in verdict.findings if at_least(f.severity, "warning")]
        assert verdict.outcome == outcome
        assert verdict.reason or outcome == "trained"


def test_three_models_in_turn_are_three_verdicts():
    verdict = judge(record(*[series(falling(100), optimizer=i, start=2.0 * i) for i in range(3)]))
    assert [part.outcome for part in verdict.parts] == ["trained"] * 3


@pytest.mark.parametrize(("live", "most"), [(False, 30), (True, 8)])
def test_of_ten_thousand_tensors_few_steps_are_read(live, most):
    """Each costs a read of all of them."""
    names = np.array([f"layers.{i}.weight" for i in range(10_000)], dtype=object)
    planted = series(falling(2000), info={"tensors": [{"name": str(name), "shape": [8, 8]} for name in names]})
    tensors = Everywhere(
        table("tensors", 10_000, tensor=names, grad_norm=1.0, grad_norm_raw=1.0, weight_norm=1.0, update_norm=1e-3)
    )
    modules = Everywhere(over_depth(np.zeros(5000), np.zeros(5000), extra=["ReLU"] * 5000))
    planted.tensors_at, planted.modules_at = tensors, modules
    assert judge(record(planted), live=live).outcome == "trained"
    assert max(tensors.reads, modules.reads) <= most
