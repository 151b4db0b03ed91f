"""Whole verdicts on planted histories: the right outcome, the right trouble at the right step, nothing beside it."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.runs._feed import steps
from trimtab.findings import OUTCOMES, TROUBLES, Verdict, at_least, judge, with_alarms
from trimtab.runs import RunWriter

from ._planted import PlantedRecord, falling, flat, over_depth, record, series, table

SCHEMA = json.loads((Path(__file__).parents[2] / "docs/schemas/verdict.schema.json").read_text())


def nan_from(loss: np.ndarray, step: int) -> dict[str, np.ndarray]:
    """Columns of a run whose weights are NaN from the step's update on."""
    n = len(loss)
    after = np.arange(n) > step
    return {"loss": np.where(after, np.nan, loss), "nonfinite": np.where(np.arange(n) >= step, 4, 0),
            "grad_norm": np.where(np.arange(n) >= step, np.nan, 1.0)}  # fmt: skip


def blown_up(loss: np.ndarray, step: int, **more: object) -> PlantedRecord:
    columns = nan_from(loss, step)
    return record(series(columns.pop("loss"), **columns, **more))  # type: ignore[arg-type]


def outcome(*args: object, **kwargs: object) -> str:
    return judge(record(series(*args, **kwargs))).outcome  # type: ignore[arg-type]


def kinds(verdict: Verdict, at_least_: str = "warning") -> list[str]:
    return [finding.kind for finding in verdict.findings if at_least(finding.severity, at_least_)]


def test_a_falling_loss_is_trained_and_says_against_what():
    verdict = judge(record(series(falling(300))))
    assert verdict.outcome == "trained"
    assert verdict.findings == ()
    assert "chance 2.30" in verdict.compared[0]


@pytest.mark.parametrize("live", [False, True])
def test_no_healthy_falling_loss_yields_a_finding(live):
    for seed in range(300):
        rng = np.random.default_rng(seed)
        n = int(rng.integers(12, 800))
        first = float(rng.uniform(1.5, 30))
        loss = falling(n, first=first, last=float(rng.uniform(0.001, 0.8)), noise=float(rng.uniform(0, 0.7)), seed=seed)
        loss[rng.integers(0, n)] *= 8  # a spike that recovers
        chance = None if seed % 3 == 0 else 2.3
        verdict = judge(record(series(loss, chance=chance)), live=live)
        assert kinds(verdict) == [], (seed, verdict)


def test_no_healthy_start_yields_a_finding_at_any_length():
    loss = falling(400, noise=0.5, seed=3)
    for n in range(1, 400, 7):
        assert kinds(judge(record(series(loss[:n])))) == [], n
        assert kinds(judge(record(series(loss[:n])), live=True)) == [], n


@settings(deadline=None, max_examples=60)
@given(
    scale=st.floats(1e-6, 1e6),
    shape=st.sampled_from(["falling", "flat", "rising", "short", "returns"]),
    known=st.booleans(),
)
def test_the_unit_of_the_loss_changes_nothing(scale, shape, known):
    curves = {
        "falling": falling(200),
        "flat": flat(200),
        "rising": 2.3 * np.geomspace(1, 1e4, 200),
        "short": falling(8),
        "returns": np.concatenate([falling(100), np.full(100, 2.35)]),
    }
    loss = curves[shape]
    chance = 2.3 if known else None
    here = judge(record(series(loss, chance=chance)))
    there = judge(record(series(loss * scale, chance=chance and chance * scale)))
    assert (here.outcome, [(f.kind, f.severity, f.first_step) for f in here.findings]) == (
        there.outcome, [(f.kind, f.severity, f.first_step) for f in there.findings])  # fmt: skip


@settings(deadline=None, max_examples=60)
@given(step=st.integers(0, 199), live=st.booleans())
def test_a_nan_is_reported_at_its_step(step, live):
    verdict = judge(blown_up(falling(200), step), live=live)
    assert verdict.outcome == "blew_up"
    assert [f.kind for f in verdict.findings] == ["non-finite"]
    assert verdict.findings[0].first_step == step
    assert verdict.findings[0].severity == "fatal"


@pytest.mark.parametrize("factor", [1e3, 1e12])
def test_a_loss_that_rises_and_stays_is_diverging(factor):
    loss = np.concatenate([np.full(30, 2.3), np.geomspace(2.3, 2.3 * factor, 100), np.full(100, 2.3 * factor)])
    verdict = judge(record(series(loss)))
    assert verdict.outcome == "blew_up"
    assert verdict.findings[0].kind == "diverging-loss"
    assert 30 <= verdict.findings[0].first_step <= 60


def test_divergence_is_seen_from_the_first_steps_on():
    for chance in (2.3, None):
        verdict = judge(record(series([2.3, 40.0, 5e3, 1e6, 1e9, 1e13], chance=chance)))
        assert kinds(verdict) == ["diverging-loss"]
        assert verdict.findings[0].first_step == 1
        live = judge(record(series([2.3, 40.0, 5e3, 1e6, 1e9, 1e13], chance=chance)), live=True)
        assert kinds(live) == ["diverging-loss"]


@pytest.mark.parametrize("n", [12, 60, 400])
@pytest.mark.parametrize("live", [False, True])
def test_divergence_begins_at_the_first_loss_beyond_the_limit(n, live):
    """The loss at step 0 is measured before the first update, and is as good as any."""
    for jump in (1, 2, 3, 5, 7):
        loss = np.where(np.arange(n) < jump, 2.47, 1e10)
        (finding,) = judge(record(series(loss)), live=live).findings
        assert (finding.kind, finding.first_step) == ("diverging-loss", jump)


def test_a_loss_that_falls_back_to_chance_has_diverged():
    loss = np.concatenate([falling(150), flat(100, level=2.31, noise=0.02)])
    verdict = judge(record(series(loss)))
    assert verdict.outcome == "blew_up"
    assert verdict.findings[0].kind == "diverging-loss"
    assert 145 <= verdict.findings[0].first_step <= 155


def away_and_back(high: float, share: float, end: float, n: int = 200, first: float = 2.4) -> np.ndarray:
    """One good loss, a share of the run far away, a slow return to where it ends."""
    out = int(share * n)
    curve = np.concatenate([[first], np.full(out, high), np.geomspace(high, end, 40), np.full(n - out - 41, end)])
    return curve * np.exp(0.1 * np.random.default_rng(0).standard_normal(n))


@pytest.mark.parametrize("chance", [2.3, None])
@pytest.mark.parametrize(
    ("end", "outcome", "severity"),
    [(3.5, "blew_up", "fatal"), (2.25, "stalled", "serious"), (0.4, "trained", "warning")],
)
def test_a_loss_that_comes_back_from_far_away_is_judged_by_where_it_ends(chance, end, outcome, severity):
    verdict = judge(record(series(away_and_back(25.0, 0.3, end), chance=chance)))
    assert verdict.outcome == outcome
    (finding,) = verdict.findings
    assert (finding.kind, finding.severity, finding.first_step) == ("diverging-loss", severity, 1)
    assert finding.causes[0].cause == "learning-rate-too-high"
    assert 60 <= finding.last_step < 110
    assert ("recovered" in finding.says) == (severity == "warning")


def test_a_rise_of_less_than_twice_counts_only_where_a_step_was_long():
    loss = np.concatenate([np.full(100, 2.35), np.full(40, 3.6), np.full(60, 2.3)])
    loss[110] = 6.0
    tensors = {0: table("tensors", 1, tensor="w", update_norm=0.3, weight_norm=1.0)}
    assert "diverging-loss" not in kinds(judge(record(series(loss))))
    assert kinds(judge(record(series(loss, tensors=tensors)))) == ["diverging-loss"]


@settings(deadline=None, max_examples=60)
@given(
    high=st.floats(3, 1e5), share=st.floats(0.02, 0.7), end=st.floats(0.05, 9), known=st.booleans(),
    now=st.integers(2, 200),
)  # fmt: skip
def test_an_alarm_is_never_withdrawn(high, share, end, known, now):
    loss, chance = away_and_back(high, share, end), 2.3 if known else None
    live = judge(record(series(loss[:now], chance=chance)), live=True)
    final = with_alarms(judge(record(series(loss, chance=chance))), live.findings)
    assert {f.kind for f in live.findings} <= {f.kind for root in final.findings for f in (root, *root.consequences)}


def test_a_finding_that_was_told_and_is_over_is_a_warning():
    (alarm,) = judge(record(series([2.3, 40.0, 5e3, 1e6, 1e9, 1e13])), live=True).findings
    verdict = with_alarms(judge(record(series(falling(300)))), [alarm])
    assert [(f.kind, f.severity) for f in verdict.findings] == [("diverging-loss", "warning")]
    assert "over" in verdict.findings[0].says
    assert with_alarms(verdict, [alarm]) == verdict


def test_what_came_back_does_not_lead_to_a_later_crash():
    loss = away_and_back(25.0, 0.3, 0.4)
    events = [{"kind": "exception", "step": 199, "data": {"type": "ValueError", "message": "x"}}]
    verdict = judge(record(series(loss), events=events, status=1))
    assert [f.kind for f in verdict.findings] == ["crash", "diverging-loss"]


def test_a_start_at_a_loss_of_thousands_that_comes_down_is_fine():
    loss = np.geomspace(5e4, 0.2, 300)
    verdict = judge(record(series(loss)))
    assert verdict.outcome == "trained"
    assert kinds(verdict) == []


def test_the_first_trouble_leads_and_the_rest_follow_under_it():
    n, jump, end = 200, 120, 130
    steps = np.arange(n)
    norm = np.where(steps >= jump, 1e6, np.exp(0.1 * np.random.default_rng(0).standard_normal(n)))
    loss = np.where(steps > end, np.nan, np.where(steps > jump, 1e5, falling(n)))
    planted = series(loss, grad_norm=norm, nonfinite=np.where(steps > end, 3, 0))
    verdict = judge(record(planted))
    (root,) = verdict.findings
    assert (root.kind, root.first_step) == ("exploding-gradient", jump)
    assert "non-finite" in [f.kind for f in root.consequences]
    assert verdict.outcome == "blew_up"


def test_a_nan_that_the_script_kept_from_the_optimizer_is_a_warning():
    loss = falling(200)
    loss[50] = np.nan
    planted = series(loss, nonfinite=np.where(np.arange(200) == 50, 4, 0))
    verdict = judge(record(planted))
    assert verdict.outcome == "trained"
    assert [(f.kind, f.severity, f.first_step) for f in verdict.findings] == [("non-finite", "warning", 50)]


def hidden(norms: list[float], *steps: int) -> PlantedRecord:
    """A NaN gradient at some steps, and what the weights are at the last sampled one."""
    rows = table("tensors", 2, tensor=["dense/kernel", "dense/bias"], weight_norm=norms)
    bad = np.isin(np.arange(200), steps).astype(int)
    return record(series(falling(200), nonfinite=bad, grad_norm=1.0, tensors={192: rows}))


@pytest.mark.parametrize("steps", [(50,), (50, 195)])
def test_weights_that_stay_non_finite_are_not_got_over_though_loss_and_gradients_are_finite(steps):
    """Nor where the batch comes again after the last sample."""
    verdict = judge(hidden([np.nan, 1.0], *steps))
    assert verdict.outcome == "blew_up"
    assert (verdict.findings[0].kind, verdict.findings[0].severity) == ("non-finite", "fatal")
    assert "the weights of dense/kernel hold NaN" in verdict.findings[0].says


@pytest.mark.parametrize(("step", "norms"), [(50, [2.0, 1.0]), (195, [np.nan, 1.0]), (50, [np.nan, np.nan])])
def test_weights_that_are_finite_or_not_known_are_got_over(step, norms):
    """After the last sample nothing is known of them, nor where no norm was measured."""
    assert judge(hidden(norms, step)).findings[0].severity == "warning"


def test_a_loss_that_was_not_finite_is_no_run_without_nan():
    loss = falling(200)
    loss[50:] = np.nan
    assert not any("no NaN" in sentence for sentence in judge(record(series(loss))).compared)


def test_a_scaler_may_skip_now_and_then_but_not_ten_times_in_a_row():
    now_and_then = np.arange(200) % 40 < 2
    loss = falling(200)
    columns = {"loss_scale": 1024.0, "nonfinite": np.where(now_and_then, 4, 0)}
    assert judge(record(series(loss, skipped=now_and_then, **columns))).findings == ()
    in_a_row = (np.arange(200) >= 60) & (np.arange(200) < 72)
    verdict = judge(record(series(loss, skipped=in_a_row, loss_scale=0.5, nonfinite=np.where(in_a_row, 4, 0))))
    assert [(f.kind, f.first_step, f.causes[0].cause) for f in verdict.findings] == [
        ("non-finite", 60, "precision-overflow")]  # fmt: skip


def test_a_loss_that_was_never_finite_blew_up_though_every_step_was_withheld():
    loss = np.full(60, np.nan)
    verdict = judge(record(series(loss, skipped=True, loss_scale=0.0, nonfinite=4)))
    assert verdict.outcome == "blew_up"
    assert [(f.kind, f.severity) for f in verdict.findings] == [("non-finite", "fatal")]
    assert verdict.to_json()["loss"] == {"last": "nan"}
    assert judge(record(series(loss[:4], skipped=True, loss_scale=0.0))).outcome == "blew_up"


def test_the_place_of_a_nan_comes_from_its_event():
    forward = {"op": "log", "what": "log of a value that is not positive", "tensor": "head.weight",
               "input": {"nonfinite": 0, "entries": 64, "min": 0.0, "max": 0.9}}  # fmt: skip
    data = {"tensors": ["head.weight", "body.weight"], "loss_finite": False, "weights_nonfinite": [],
            "forward": forward, "backward_pass": 1}  # fmt: skip
    planted = blown_up(falling(100), 40).planted[0]
    planted.steps["loss"][40] = np.inf
    verdict = judge(record(planted, events=[{"kind": "nonfinite", "step": 40, "data": data}]))
    (finding,) = verdict.findings
    assert finding.where[0] == {"op": "log", "tensor": "head.weight"}
    assert finding.causes[0].cause == "invalid-operation"
    assert "log of 0" in finding.causes[0].why
    assert "the loss became inf at step 40" in finding.says


def test_flat_at_chance_is_stalled_and_a_short_run_is_not_judged():
    assert outcome(flat(200)) == "stalled"
    assert outcome(flat(30)) == "unjudged"
    assert outcome(flat(200), chance=None) == "stalled"
    assert "too few" in judge(record(series(flat(30)))).reason


def plateau(n: int) -> np.ndarray:
    """Falls from 6 to just below chance (3.93) within 20 steps, and rests there."""
    return np.concatenate([np.geomspace(6.0, 3.77, 20), flat(n - 20, level=3.77, noise=0.01)])


def test_a_short_rest_near_chance_after_a_clear_fall_is_no_stall_yet():
    verdict = judge(record(series(plateau(96), chance=3.93)))
    assert (verdict.outcome, verdict.findings) == ("unjudged", ())
    assert "a plateau or a stall" in verdict.reason
    assert outcome(plateau(3000), chance=3.93) == "stalled"
    tensors = {step: table("tensors", 1, tensor="w", update_norm=1e-7, weight_norm=1.0) for step in range(0, 96, 16)}
    (finding,) = judge(record(series(plateau(96), chance=3.93, tensors=tensors))).findings
    assert (finding.kind, finding.causes[0].cause) == ("stalled-loss", "learning-rate-too-low")


def test_a_stall_begins_where_the_standing_still_does_and_says_what_to_try():
    loss = np.concatenate([np.geomspace(6.0, 2.3, 500), flat(1500, noise=0.02)])
    (finding,) = judge(record(series(loss))).findings
    assert finding.kind == "stalled-loss"
    assert 400 <= finding.first_step <= 625
    assert "no cause was found" in finding.says
    assert finding.remedies == ("lr*10", "lr*0.1")


def test_still_falling_at_the_end_is_too_early_to_say():
    verdict = judge(record(series(np.linspace(2.6, 2.25, 200) + 0.01 * np.random.default_rng(1).standard_normal(200))))
    assert verdict.outcome == "unjudged"
    assert "still falling" in verdict.reason


@pytest.mark.parametrize(
    ("planted", "word"),
    [
        ([], "no optimizer step"),
        ([series(None, steps=20)], "no loss was seen"),
        ([series([2.3])], "1 step"),
        ([series(np.zeros(100), chance=None)], "0 at every one"),
        ([series(np.random.default_rng(0).standard_normal(300), chance=None)], "may be negative"),
    ],
)
def test_what_the_data_cannot_tell_is_not_judged_with_a_reason(planted, word):
    verdict = judge(record(*planted))
    assert verdict.outcome == "unjudged"
    assert word in verdict.reason


def test_a_loss_that_falls_below_nought_is_held_against_its_start_and_says_why():
    verdict = judge(record(series(falling(300, first=2.4, last=-1.0), chance=2.3)))
    assert "a loss that may be negative is not held against chance" in verdict.compared[0]
    assert "chance" not in verdict.loss


@pytest.mark.parametrize(("rows", "expected"), [(4, "unjudged"), (1000, "trained")])
def test_a_regression_has_trained_only_if_it_is_clearly_better_than_chance_as_far_as_that_is_known(rows, expected):
    """A fifth better than a variance that was estimated from 76 targets (16 %), or from 19,000 (1 %)."""
    loss = np.concatenate([falling(100, first=1.2, last=0.8, noise=0.02), flat(200, level=0.8, noise=0.02)])
    assert outcome(loss, chance=1.0, losses={"kind": "mse", "rows": rows}) == expected


def test_a_negative_loss_may_train_run_away_and_rise():
    rng = np.random.default_rng(0)
    assert outcome(-falling(300, first=0.1, last=5.0), chance=None) == "trained"
    away = judge(record(series(-np.geomspace(1, 1e9, 300), chance=None)))
    assert kinds(away) == ["diverging-loss"]
    assert away.findings[0].causes[0].cause == "wrong-sign"
    up = np.concatenate([-100 + rng.standard_normal(100), np.full(100, 1e5)])
    assert outcome(up, chance=None) == "blew_up"


def test_a_gan_is_one_part_and_its_losses_are_not_judged():
    rng = np.random.default_rng(0)
    d = series(0.7 + 0.1 * rng.standard_normal(200), chance=0.69, optimizer=0)
    g = series(np.linspace(0.7, 8, 200), chance=0.69, optimizer=1, start=0.005)
    verdict = judge(record(d, g))
    assert (verdict.outcome, verdict.findings, verdict.parts) == ("unjudged", (), ())
    assert "GAN" in verdict.reason


def test_models_trained_in_turn_are_judged_one_by_one():
    runs = [series(falling(100), optimizer=0), series(flat(100), optimizer=1, start=2.0),
            series(falling(60), optimizer=2, start=4.0)]  # fmt: skip
    verdict = judge(record(*runs))
    assert [part.outcome for part in verdict.parts] == ["trained", "stalled", "trained"]
    assert (verdict.outcome, verdict.steps) == ("stalled", 260)
    assert verdict.findings[0].says.startswith("part 2:")


def test_ranks_are_one_part_and_a_finding_names_its_rank():
    ranks = [series(falling(100, seed=i), process=i) for i in range(8)]
    ranks[3] = series(np.where(np.arange(100) >= 70, np.nan, falling(100)), process=3,
                      nonfinite=np.where(np.arange(100) >= 70, 2, 0))  # fmt: skip
    verdict = judge(record(*ranks, processes=8))
    assert verdict.parts == ()
    assert verdict.steps == 100
    assert verdict.findings[0].where[0] == {"rank": 3}


def test_a_crash_tells_what_where_and_the_pip_line():
    data = {"type": "ModuleNotFoundError", "message": "No module named 'einops'", "file": "train.py", "line": 3}
    verdict = judge(record(events=[{"kind": "exception", "data": data}], status=1))
    assert verdict.outcome == "crashed"
    assert verdict.findings[0].remedies == ("pip install einops",)
    assert "train.py:3" in verdict.findings[0].says
    assert judge(record(series(falling(100)), status=-9)).outcome == "crashed"
    assert "SIGKILL" in judge(record(series(falling(100)), status=-9)).findings[0].says


@pytest.mark.parametrize(("used", "cause"), [(1e9, []), (15e9, ["out-of-memory"]), (None, [])])
def test_a_kill_is_laid_on_memory_only_where_it_was_nearly_full(used, cause):
    (finding,) = judge(record(series(falling(100)), status=-9, max_rss_bytes=used, memory_bytes=16e9)).findings
    assert [c.cause for c in finding.causes] == cause
    assert ("a scheduler" in finding.says) == (not cause)


@pytest.mark.parametrize("status", [-2, -15, 130, 143])
def test_ctrl_c_and_sigterm_are_no_crash(status):
    verdict = judge(record(series(falling(100)), status=status))
    assert (verdict.outcome, verdict.findings) == ("interrupted", ())


def test_a_crash_after_a_nan_is_listed_under_it():
    planted = blown_up(falling(100), 40)
    data = {"type": "ValueError", "message": "Input contains NaN"}
    events = [{"kind": "exception", "step": 60, "data": data}]
    verdict = judge(record(*planted.planted, events=events, status=1))
    assert verdict.outcome == "blew_up"
    assert [c.kind for c in verdict.findings[0].consequences] == ["crash"]


def test_live_judges_all_rows_that_have_come_so_far(tmp_path):
    """Through a real recorder's memory, with rows that have come since the last time."""
    writer = RunWriter(tmp_path / "run", {}, on_trouble=pytest.fail)
    for first in range(0, 6_400, 64):
        writer.rows(0, *steps(first, 64))
    writer.flush()
    for again in range(3):
        writer.rows(0, *steps(6_400 + 64 * again, 64))
        assert judge(writer.record(), live=True).steps == 6_400 + 64 * (again + 1)


def every_kind_of_verdict():
    deep = over_depth(np.zeros(12), np.linspace(-9, -3, 12))
    yield judge(blown_up(falling(100), 40))
    yield judge(record(series(flat(100), modules=deep)))
    yield judge(record(series(falling(100)), series(flat(100), optimizer=1, start=2.0), status=-9))
    yield judge(record())
    yield judge(record(series(2.3 * np.geomspace(1, 1e300, 100))))


def test_every_verdict_obeys_its_schema_and_survives_the_round_trip():
    for verdict in every_kind_of_verdict():
        data = json.loads(json.dumps(verdict.to_json(), allow_nan=False))
        jsonschema.validate(data, SCHEMA, cls=jsonschema.Draft202012Validator)
        assert Verdict.from_json(data).to_json() == data


def test_every_outcome_and_trouble_is_in_the_schema():
    assert set(SCHEMA["$defs"]["verdict"]["properties"]["outcome"]["enum"]) == set(OUTCOMES)
    assert len({trouble.name for trouble in TROUBLES}) == len(TROUBLES)


def test_one_dear_first_batch_is_no_fall_to_a_plateau():
    """The noise of a batch is a tenth of the loss: a first one that lies a little above the rest says nothing."""
    loss = flat(80, level=2.3, noise=0.1)
    loss[0] = 2.65
    verdict = judge(record(series(loss)))
    assert (verdict.outcome, [f.kind for f in verdict.findings]) == ("stalled", ["stalled-loss"])
    fallen = np.concatenate([np.linspace(4.0, 2.3, 10), flat(70, level=2.3, noise=0.02)])
    assert judge(record(series(fallen))).outcome == "unjudged"
