"""The study of guards: what counts as lost, saved and cost, how runs are paired, what the faults do, a few runs."""

from __future__ import annotations

import math
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("sklearn")
pytest.importorskip("networkx")

import torch
from studies.calibration import corpus, loop
from studies.calibration.families import build, common, settings_of
from studies.calibration.statistics import Share
from studies.guards import faults, outcomes, page, plan, records
from studies.guards.figure import Row, figure
from studies.guards.outcomes import Mean, Outcomes
from studies.guards.plan import DEFAULT, FULL, POLICIES, QUICK, Plan, Run
from studies.guards.training import Result

from trimtab.policies import GUARD, guarding

BASE = "gcn-adam"
TINY = Plan((BASE,), {"nan-batch": (BASE,)}, (DEFAULT, "clip=value:0.5"), 2, 2)


def result(run: Run, final: float, digest: str = "") -> Result:
    return Result(run, final, final, digest, 1.0)


def healthy(*finals: float, base: str = BASE) -> list[Result]:
    return [result(Run(base, seed), final, "as it was") for seed, final in enumerate(finals)]


# --- definitions ----------------------------------------------------------------------------------


def test_the_tolerated_factor_is_three_standard_deviations_of_the_log() -> None:
    measure = outcomes.yardstick([1.0, math.e, math.e**2])
    assert measure.median == pytest.approx(math.e)
    assert measure.spread == pytest.approx(1.0)
    assert measure.factor == pytest.approx(math.e**3)


def test_the_tolerated_factor_has_a_least_value() -> None:
    assert outcomes.yardstick([0.5, 0.5, 0.5]).factor == 1.25
    assert outcomes.yardstick([0.5]).factor == 1.25


def test_a_run_is_lost_and_saved_by_its_own_twin() -> None:
    """Seed 1's twin is lower: what is within of seed 0's is not within of it."""
    planted = [Run(BASE, seed, "bad-batch") for seed in (0, 1)]
    guarded = [Run(BASE, seed, "bad-batch", DEFAULT) for seed in (0, 1)]
    found = Outcomes(
        [
            *healthy(1.0, 0.9, 0.95, 1.0),
            *(result(run, 5.0) for run in planted),
            *(result(run, 1.24) for run in guarded),
        ]
    )
    assert found.yardsticks[BASE].factor == 1.25
    assert found.lost() == planted
    assert [found.is_within(run) for run in guarded] == [True, False]
    assert found.saved(DEFAULT, lambda run: True) == Share(1, 2)
    assert found.saved(DEFAULT, lambda run: run.seed == 0) == Share(1, 1)


def test_a_run_that_is_not_lost_is_no_run_to_save() -> None:
    fine = Run(BASE, 0, "bad-batch")
    found = Outcomes([*healthy(1.0, 1.0), result(fine, 1.2), result(Run(BASE, 0, "bad-batch", DEFAULT), 1.0)])
    assert found.lost() == []
    assert found.saved(DEFAULT, lambda run: True) == Share(0, 0)


def test_what_is_not_finite_is_lost_and_not_saved() -> None:
    planted = Run(BASE, 0, "nan-batch")
    guarded = Run(BASE, 0, "nan-batch", DEFAULT)
    found = Outcomes([*healthy(1.0, 1.1), result(planted, math.inf), result(guarded, math.inf)])
    assert found.saved(DEFAULT, lambda run: True) == Share(0, 1)


def test_a_lost_run_that_no_policy_has_tried_is_not_counted() -> None:
    found = Outcomes([*healthy(1.0, 1.1), result(Run(BASE, 0, "nan-batch"), math.inf)])
    assert found.saved(DEFAULT, lambda run: True) == Share(0, 0)


def test_a_seed_that_does_not_train_without_a_fault_is_left_out() -> None:
    found = Outcomes([*healthy(*[1.0] * 30, 50.0), result(Run(BASE, 30, "nan-batch"), math.inf)])
    assert found.yardsticks[BASE].factor < 50
    assert not found.trained(Run(BASE, 30, "nan-batch"))
    assert found.lost() == []


def test_the_cost_is_the_geometric_mean_of_paired_ratios() -> None:
    guarded = [result(Run(BASE, seed, "", DEFAULT), final) for seed, final in enumerate((2.0, 0.25, 1.0))]
    cost = Outcomes([*healthy(1.0, 0.5, 0.5), *guarded]).cost(DEFAULT)
    assert cost.of == 3
    assert cost.value == pytest.approx((2 * 0.5 * 2) ** (1 / 3))


def test_the_interval_of_a_mean_is_students() -> None:
    """Gosset's sleep data of 1908, drug 2 less drug 1: mean 1.58, 95 % interval 0.70 to 2.46 (R's example(sleep))."""
    differences = (1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4)
    mean = outcomes.geometric_mean([math.exp(d) for d in differences])
    assert math.log(mean.value) == pytest.approx(1.58)
    assert math.log(mean.low) == pytest.approx(0.7001142, abs=1e-6)
    assert math.log(mean.high) == pytest.approx(2.4598858, abs=1e-6)


def test_untouched_means_bit_for_bit_the_same_as_without_the_policy() -> None:
    same = result(Run(BASE, 0, "", DEFAULT), 1.0, "as it was")
    other = result(Run(BASE, 1, "", DEFAULT), 1.1, "another")
    found = Outcomes([*healthy(1.0, 1.1), same, other])
    assert found.untouched(DEFAULT, lambda run: not run.fault) == Share(1, 2)


# --- the plan -------------------------------------------------------------------------------------


def test_every_planted_run_has_its_twin_and_every_base_its_spread() -> None:
    for one in (FULL, QUICK):
        runs = one.unguarded()
        assert len(set(runs)) == len(runs)
        assert {run.twin for run in runs} <= set(runs)
        for base in {run.base for run in runs}:
            assert sum(run.base == base and not run.fault for run in runs) == one.spread_seeds


def test_policies_are_run_on_healthy_runs_and_on_lost_ones_only() -> None:
    lost = Run(BASE, 1, "bad-batch")
    runs = TINY.guarded([lost])
    assert {run.unguarded for run in runs} == {Run(BASE, 0), Run(BASE, 1), lost}
    assert [run.seed for run in runs] == sorted(run.seed for run in runs)


def test_the_plan_names_what_there_is() -> None:
    assert set(plan.PLANTED) == faults.FAULTS.keys() - {""}
    assert {base for bases in plan.PLANTED.values() for base in bases} <= corpus.BASES.keys()
    assert POLICIES[DEFAULT] == GUARD
    for policies in POLICIES.values():
        guarding(policies)  # raises for one that cannot be
    for base in plan.BASES:
        assert settings_of(corpus.BASES[base][0], 0, corpus.BASES[base][1]).clip == "none"


# --- the faults -----------------------------------------------------------------------------------


def planted(base: str, fault: str, at: int) -> faults.Planting:
    family, flags = corpus.BASES[base]
    settings = settings_of(family, 0, flags)
    task = build(settings)
    optimizer = common.make_optimizer(settings.optimizer, list(task.model.parameters()), lr=settings.lr)
    planting = faults.Planting(task, settings, optimizer, at)
    faults.FAULTS[fault].plant(planting)
    return planting


@pytest.mark.parametrize(("base", "times"), [("mlp-adam", "inputs"), ("rnn-unclipped", "targets"), (BASE, "loss")])
def test_one_batch_is_bad_and_no_other(base: str, times: str) -> None:
    task = planted(base, "bad-batch", at=3).task
    rows_x, rows_y = task.train[0][:8], task.train[1][:8]
    for step in (2, 3, 4):
        factor = 100.0 if step == 3 else 1.0
        x, y = task.disturb(step, rows_x, rows_y)
        assert torch.equal(x, factor * rows_x if times == "inputs" else rows_x)
        assert torch.equal(y, factor * rows_y if times == "targets" else rows_y)
        task.model.train()
        in_training = task.loss(task.answer(rows_x), rows_y)
        task.model.eval()
        in_validation = task.loss(task.answer(rows_x), rows_y)
        assert float((in_training / in_validation).detach()) == pytest.approx(factor if times == "loss" else 1.0)


def test_the_second_moment_is_stale_when_the_quiet_stretch_ends() -> None:
    """From one step to the next the gradient grows a thousandfold, and the correction for a young moment is gone."""
    planting = planted(BASE, "stale", at=5)
    task, optimizer = planting.task, planting.optimizer
    norms, sums = [], []
    for step in range(6):
        x, y = task.disturb(step, task.train[0][:40], task.train[1][:40])
        sums.append(_sum_of_second_moments(optimizer))
        loop.take_step(task, planting.settings, optimizer, x, y)
        norms.append(float(torch.nn.utils.get_total_norm([p.grad for p in task.model.parameters()])))
    assert norms[5] / norms[4] == pytest.approx(1000, rel=0.2)
    assert all(float(state["step"]) == faults.QUIET_STEPS + 1 for state in optimizer.state.values())
    grown = sums[5] / sums[4]  # by the fifth gradient as well
    assert grown > 1 / (1 - 0.999**5)


def _sum_of_second_moments(optimizer: torch.optim.Optimizer) -> float:
    return sum(float(state["exp_avg_sq"].sum()) for state in optimizer.state.values())


def test_what_happens_once_happens_in_the_middle_and_at_the_same_step_each_time() -> None:
    steps = [faults.step_of(BASE, "bad-batch", seed, 100) for seed in range(50)]
    assert steps == [faults.step_of(BASE, "bad-batch", seed, 100) for seed in range(50)]
    assert min(steps) >= 20
    assert max(steps) < 80
    assert len(set(steps)) > 20


# --- a few runs -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seeds of one training, healthy and with a batch of NaN, under two policies and without."""
    folder = tmp_path_factory.mktemp("guards")
    records.train_all(TINY.unguarded(), folder, jobs=1)
    records.train_all(TINY.guarded(Outcomes(records.load(folder)).lost()), folder, jobs=2)
    return folder


def test_a_batch_of_nan_is_lost_without_a_policy_and_saved_by_the_default(folder: Path) -> None:
    found = Outcomes(records.load(folder))
    assert found.lost() == [Run(BASE, 0, "nan-batch"), Run(BASE, 1, "nan-batch")]
    assert found.results[Run(BASE, 0, "nan-batch")].final == math.inf
    assert found.saved(DEFAULT, lambda run: True) == Share(2, 2)


def test_the_default_leaves_a_healthy_run_as_it_is(folder: Path) -> None:
    found = Outcomes(records.load(folder))
    assert found.untouched(DEFAULT, lambda run: not run.fault) == Share(2, 2)
    assert found.untouched(DEFAULT, lambda run: run.fault == "nan-batch") == Share(0, 2)
    assert str(found.cost(DEFAULT)) == "1.00 (1.00 to 1.00)"


def test_what_is_trained_is_not_trained_again_and_half_a_line_is_none(folder: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    shutil.copytree(folder, again)
    file = again / records.RESULTS
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    file.write_text("".join(lines)[:-9], encoding="utf-8")  # killed while it wrote
    assert len(records.load(again)) == len(lines) - 1
    lost = records.load(folder)[-1]
    records.train_all([r.run for r in records.load(folder)], again, jobs=1)
    assert file.read_text(encoding="utf-8").splitlines(keepends=True)[:-1] == lines[:-1]
    repeated = records.load(again)[-1]
    assert (repeated.run, repeated.final, repeated.digest) == (lost.run, lost.final, lost.digest)


def test_the_page_has_every_part_and_keeps_what_is_written_by_hand(folder: Path, tmp_path: Path) -> None:
    written = page.write_page(records.load(folder), records.made_by(folder), tmp_path)
    text = written.read_text(encoding="utf-8")
    assert f"{len(records.load(folder))} trainings on " in text
    assert "Of 2 planted runs without a policy 2 were lost" in text
    assert f"| `{DEFAULT}` | 100 % (34 to 100; 2 of 2) |" in text
    assert f"| `{DEFAULT}` | 2/2 | 0/2 | 1.00 (1.00 to 1.00) | 1.00 |" in text
    assert [line for line in text.splitlines() if line.startswith("## ")] == [
        line for line in page.PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("## ")
    ]
    ET.fromstring((tmp_path / "guards" / "worth.svg").read_text(encoding="utf-8"))


def test_the_figure_shows_every_cell() -> None:
    rows = [
        Row("a < b", [Share(3, 4), Share(0, 0)], Mean(1.1, 1.0, 1.2, 8), Share(5, 8)),
        Row("c", [Share(0, 4), Share(0, 0)], Mean(math.inf, math.nan, math.inf, 8), Share(0, 8)),
    ]
    text = " ".join(ET.fromstring(figure("What & why", ["one batch of NaN", "other"], rows)).itertext())
    shown = ("What & why", "a < b", "75 %", "3 of 4", "none lost", "1.10", "5 of 8", "a run was ruined")
    assert [word for word in shown if word not in text] == []
