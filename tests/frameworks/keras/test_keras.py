"""Keras on its three backends: what is recorded of small trainings, against NumPy, and that nothing is changed.

Every training is described in `_cases.py`, and runs in one process per backend.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.frameworks.keras._cases import BATCH, RATE, ROWS, data, weights

KERAS = importlib.util.find_spec("keras") is not None
BACKENDS = [name for name in ("tensorflow", "jax", "torch") if KERAS and importlib.util.find_spec(name) is not None]
ROOT = Path(__file__).resolve().parents[3]
NAMES = ["first/kernel", "first/bias", "second/kernel", "second/bias"]
CLOSE = {"rel": 1e-5, "abs": 1e-9}

Found = dict[str, Any]
Grads = list[Any]


def _in_process(backend: str, way: str, out: Path) -> Found:
    command = [sys.executable, "-m", "tests.frameworks.keras._cases", way, str(out)]
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    env = {**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": str(ROOT), **quiet}
    done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout == ""
    found: Found = json.loads(out.read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="module", params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def watched(backend: str, tmp_path_factory: pytest.TempPathFactory) -> Found:
    return _in_process(backend, "watched", tmp_path_factory.mktemp(backend) / "watched.json")


@pytest.fixture(scope="module")
def plain(backend: str, tmp_path_factory: pytest.TempPathFactory) -> Found:
    return _in_process(backend, "plain", tmp_path_factory.mktemp(backend) / "plain.json")


# The reference: the same training in NumPy, in float64.


def gradients(w: Grads, x: Any, y: Any) -> tuple[float, Grads]:
    hidden = np.tanh(x @ w[0] + w[1])
    off = hidden @ w[2] + w[3] - y
    d_out = 2 * off / off.size
    d_hidden = d_out @ w[2].T * (1 - hidden**2)
    return float((off**2).mean()), [x.T @ d_hidden, d_hidden.sum(0), hidden.T @ d_out, d_out.sum(0)]


def norms(grads: Grads) -> Any:
    return np.array([np.linalg.norm(g) for g in grads])


def by_norm(limit: float) -> Any:
    return lambda grads: [g * min(1, limit / np.linalg.norm(g)) for g in grads]


def by_global_norm(limit: float) -> Any:
    return lambda grads: [g * min(1, limit / np.linalg.norm(norms(grads))) for g in grads]


def by_value(limit: float) -> Any:
    return lambda grads: [np.clip(g, -limit, limit) for g in grads]


def trained(epochs: int = 1, clip: Any = lambda grads: grads, together: int = 1, rate: Any = lambda step: RATE) -> Any:
    """Of every step: the mean loss of its batches, the raw and the applied norms, and the norms of weights before."""
    x, y = (a.astype(np.float64) for a in data())
    w, steps, waiting = [a.astype(np.float64) for a in weights()], [], []
    for at in [*range(0, ROWS, BATCH)] * epochs:
        waiting.append(gradients(w, x[at : at + BATCH], y[at : at + BATCH]))
        if len(waiting) == together:
            raw = [np.mean([grads[i] for _, grads in waiting], axis=0) for i in range(len(w))]
            applied, before = clip(raw), norms(w)
            steps.append((np.mean([loss for loss, _ in waiting]), norms(raw), norms(applied), before))
            w = [a - rate(len(steps) - 1) * g for a, g in zip(w, applied, strict=True)]
            waiting = []
    return steps


def table(found: Found, column: str) -> Any:
    """A column of `tensors`, a row per step; every step has all four tensors in their order."""
    rows = found["tensors"]
    assert [row["tensor"] for row in rows] == NAMES * len(found["steps"])
    return np.array([row[column] for row in rows]).reshape(-1, len(NAMES))


def assert_as_reference(found: Found, steps: Any, *, is_clipped: bool) -> None:
    assert found["errors"] == []
    assert [row["step"] for row in found["steps"]] == list(range(len(steps)))
    assert [row["loss"] for row in found["steps"]] == [pytest.approx(loss, **CLOSE) for loss, *_ in steps]
    np.testing.assert_allclose(table(found, "grad_norm"), [applied for _, _, applied, _ in steps], rtol=1e-5)
    raw = [raw for _, raw, _, _ in steps]
    if is_clipped:
        np.testing.assert_allclose(table(found, "grad_norm_raw"), raw, rtol=1e-5)
    totals = [row["grad_norm_raw"] for row in found["steps"]]
    np.testing.assert_allclose(totals, [np.linalg.norm(each) for each in raw], rtol=1e-5)


@pytest.mark.parametrize(
    ("case", "reference"),
    [
        ("plain_steps", {"epochs": 2}),
        ("clipnorm", {"clip": by_norm(0.2)}),
        ("global_clipnorm", {"clip": by_global_norm(0.3)}),
        ("clipvalue", {"clip": by_value(0.02)}),
        ("accumulated", {"epochs": 2, "clip": by_global_norm(0.3), "together": 3}),
        ("loss_scaled", {}),
        ("loss_scale_factor", {}),
        ("schedule", {"rate": lambda step: 0.1 * 0.5**step}),
        ("own_loop", {}),
    ],
)
def test_losses_and_norms_are_those_of_numpy(watched: Found, case: str, reference: Any) -> None:
    assert_as_reference(watched[case], trained(**reference), is_clipped="clip" in reference)


def test_the_first_step_is_measured_in_full(backend: str, watched: Found) -> None:
    (_, raw, _, before), *_ = trained()
    rows = watched["plain_steps"]["tensors"][:4]
    assert watched["plain_steps"]["steps"][0]["sampled"]
    np.testing.assert_allclose([row["weight_norm"] for row in rows], before, rtol=1e-5)
    np.testing.assert_allclose([row["update_norm"] for row in rows], RATE * raw, rtol=1e-4)
    _, grads = gradients([a.astype(np.float64) for a in weights()], *(a[:BATCH] for a in data()))
    if backend == "jax":  # where it is dear, and read by no rule
        assert all({"grad_max", "grad_zeros", "lost_updates"}.isdisjoint(row) for row in rows)
    else:
        np.testing.assert_allclose([row["grad_max"] for row in rows], [np.abs(g).max() for g in grads], rtol=1e-5)
        assert [(row["grad_zeros"], row["grad_nonfinite"], row["lost_updates"]) for row in rows] == [(0, 0, 0.0)] * 4
    assert [row.get("twin_units") for row in rows] == [0.0, None, 0.0, None]


def test_updates_that_round_away_are_counted(watched: Found) -> None:
    found = watched["half_precision"]
    assert found["errors"] == []
    rows = [row for row in found["tensors"] if row["step"] == 0]
    assert [row["grad_zeros"] for row in rows] == [0] * 4
    kernels = [row["lost_updates"] for row in rows if row["tensor"].endswith("kernel")]
    assert all(0.3 < share < 1 for share in kernels)


def test_clipped_extremes_are_those_that_are_applied(backend: str, watched: Found) -> None:
    if backend == "jax":
        pytest.skip("extremes are not measured there")
    _, grads = gradients([a.astype(np.float64) for a in weights()], *(a[:BATCH] for a in data()))
    for case, clip in (("global_clipnorm", by_global_norm(0.3)), ("clipvalue", by_value(0.02))):
        found = [row["grad_max"] for row in watched[case]["tensors"][:4]]
        np.testing.assert_allclose(found, [np.abs(g).max() for g in clip(grads)], rtol=1e-5, err_msg=case)


def test_the_second_moment_is_corrected_for_its_start(watched: Found) -> None:
    """At the first step g^2 / v_hat is 1; at the second v_hat is (0.9 g0^2 + g1^2) / 1.9."""
    rows = watched["adam"]["tensors"]
    np.testing.assert_allclose([row["g2_over_v"] for row in rows[:4]], 1.0, rtol=1e-4)
    x, y = (a.astype(np.float64) for a in data())
    w = [a.astype(np.float64) for a in weights()]
    _, g0 = gradients(w, x[:BATCH], y[:BATCH])
    w = [a - 0.01 * np.sign(g) for a, g in zip(w, g0, strict=True)]
    _, g1 = gradients(w, x[BATCH : 2 * BATCH], y[BATCH : 2 * BATCH])
    expected = [np.sqrt(np.mean(b**2 / ((0.9 * a**2 + b**2) / 1.9))) for a, b in zip(g0, g1, strict=True)]
    np.testing.assert_allclose([row["g2_over_v"] for row in rows[4:8]], expected, rtol=1e-3)


def test_accumulated_gradients_are_one_step(watched: Found) -> None:
    rows = watched["accumulated"]["steps"]
    assert [(row["step"], row["backwards"]) for row in rows] == [(0, 3), (1, 3)]
    assert rows[0]["sampled"]


def test_the_loss_scale_is_undone_and_recorded(watched: Found) -> None:
    assert {row["loss_scale"] for row in watched["loss_scaled"]["steps"]} == {1024.0}
    assert {row["skipped"] for row in watched["loss_scaled"]["steps"]} == {False}
    if "loss_scale" in watched["loss_scale_factor"]["steps"][0]:
        assert {row["loss_scale"] for row in watched["loss_scale_factor"]["steps"]} == {64.0}


def test_a_step_that_the_scaler_withholds(watched: Found) -> None:
    rows = watched["withheld"]["steps"]
    assert len(rows) == 3
    assert all(row["skipped"] and row["nonfinite"] > 0 for row in rows)
    assert "update_norm" not in watched["withheld"]["tensors"][0]
    assert [row["loss_scale"] for row in rows] == [2.0**127, 2.0**126, 2.0**125]


def test_learning_rates_are_those_of_each_step(watched: Found) -> None:
    assert [row["lr"] for row in watched["schedule"]["steps"]] == pytest.approx([0.1, 0.05, 0.025])
    rates = [row["lr"] for row in watched["plateau"]["steps"]]
    assert rates == pytest.approx([0.1, 0.1, 0.1, 0.1, 0.01, 0.01])


def test_metrics_are_keras_own_and_lie_after_their_steps(watched: Found) -> None:
    found, returned = watched["metrics"]["metrics"], watched["metrics"]["returned"]
    optimizer = watched["metrics"]["steps"][0]["optimizer"]
    assert {(m["source"], m["optimizer"]) for m in found} == {("keras", optimizer)}
    assert {m["name"] for m in found} == {"mae", "val_loss", "val_mae", "eval_loss", "eval_mae"}
    for name in ("mae", "val_loss", "val_mae"):
        own = [(m["step"], m["value"]) for m in found if m["name"] == name]
        assert own == [(1, pytest.approx(returned[name][0])), (3, pytest.approx(returned[name][1]))], name
    evaluated = [m["value"] for m in found if m["name"] == "eval_loss"]
    assert evaluated == pytest.approx([loss for loss, _ in returned["evaluated"]])


def test_losses_of_single_batches_hold_their_weights(watched: Found) -> None:
    found = watched["batches"]
    assert [row["loss"] for row in found["steps"]] == pytest.approx(found["returned"], rel=1e-5)


def test_the_loss_of_several_outputs_is_their_sum(watched: Found) -> None:
    found = watched["several_outputs"]
    assert [row["loss"] for row in found["steps"]] == pytest.approx(found["returned"], rel=1e-5)
    assert {row["tensor"] for row in found["tensors"]} == {"left/kernel", "left/bias", "right/kernel", "right/bias"}


def test_each_optimizer_of_several_is_recorded_and_the_loss_once(watched: Found) -> None:
    found = watched["several_optimizers"]
    first = min(row["optimizer"] for row in found["steps"])
    groups = {row["optimizer"] - first: row["lr"] for row in found["steps"]}
    assert len(found["steps"]) == 6
    assert sorted(groups.values()) == pytest.approx([0.02, 0.1])
    tensors = {row["optimizer"]: set() for row in found["tensors"]}  # type: dict[int, set[str]]
    for row in found["tensors"]:
        tensors[row["optimizer"]].add(row["tensor"])
    assert sorted(map(sorted, tensors.values())) == [sorted(NAMES[:2]), sorted(NAMES[2:])]


def test_losses_are_those_of_averaged_weights(watched: Found) -> None:
    """After two steps the weights are overwritten with their average: of the weights after each, half of either."""
    x, y = (a.astype(np.float64) for a in data())
    w, after = [a.astype(np.float64) for a in weights()], []
    for at in (0, BATCH):
        _, grads = gradients(w, x[at : at + BATCH], y[at : at + BATCH])
        w = [a - RATE * g for a, g in zip(w, grads, strict=True)]
        after.append(w)
    average = [(a + b) / 2 for a, b in zip(*after, strict=True)]
    expected, _ = gradients(average, x[2 * BATCH :], y[2 * BATCH :])
    assert watched["average"]["steps"][2]["loss"] == pytest.approx(expected, **CLOSE)


def test_an_optimizer_with_an_apply_of_its_own_steps_once(watched: Found) -> None:
    found = watched["own_apply"]
    assert [row["step"] for row in found["steps"]] == [0, 1, 2]
    np.testing.assert_allclose(table(found, "grad_norm")[0], trained()[0][1], rtol=1e-5)
    assert found["optimizers"][0]["class"].endswith(".Own")


def test_what_run_json_says_of_optimizer_and_model(watched: Found) -> None:
    (info,) = watched["adam"]["optimizers"]
    assert info["class"] == "keras.optimizers.Adam"
    assert info["groups"][0]["betas"] == [0.9, 0.9]
    assert info["groups"][0]["eps"] == 1e-7
    assert info["groups"][0]["lr"] == pytest.approx(0.01)
    assert (info["model"], info["modules"], info["dropout"]) == ("Sequential", {"Dense": 2}, [])
    assert [(t["name"], t["shape"]) for t in info["tensors"]] == list(
        zip(NAMES, [[5, 7], [7], [7, 3], [3]], strict=True)
    )
    assert info["untrained"] == []


def test_modules_of_the_first_step_are_keras_layers(watched: Found) -> None:
    rows = [row for row in watched["plain_steps"]["modules"] if row["step"] == 0]
    assert [(row["module"], row["weighted"]) for row in rows] == [
        ("first", True),
        ("first/activation", False),
        ("second", True),
    ]
    x, y = data()
    w = weights()
    hidden = np.tanh(x[:BATCH] @ w[0] + w[1])
    assert rows[1]["out_rms"] == pytest.approx(float(np.sqrt(np.mean(hidden**2))), rel=1e-5)
    off = hidden @ w[2] + w[3] - y[:BATCH]
    assert rows[2]["grad_rms"] == pytest.approx(float(np.sqrt(np.mean((2 * off / off.size) ** 2))), rel=1e-4)


def test_settings_that_are_left_undone_are_told_with_their_line(watched: Found) -> None:
    told = [data for kind, data in watched["old_spellings"]["events"] if kind == "old_spelling"]
    assert [(t["setting"], t["value"], t["of"]) for t in told] == [("decay", 1e-6, "SGD"), ("lr", 0.5, "SGD")]
    assert all(os.path.basename(t["file"]) == "_cases.py" for t in told)
    assert told[1]["source"] == "optimizer.lr = 0.5"


# TensorFlow rewrites a product of which the gradient is a part only where nothing else reads the gradient.
LAST_DIGIT = {"tensorflow": ("averaged",)}


def test_weights_histories_and_files_are_the_same_bits_watched_and_plain(
    watched: Found, plain: Found, backend: str
) -> None:
    assert watched["errors"] == []
    exact = plain["trained"].keys() - set(LAST_DIGIT.get(backend, ()))
    assert {name: watched["trained"][name] for name in exact} == {name: plain["trained"][name] for name in exact}


def test_where_the_last_digit_differs_it_is_the_last(watched: Found, plain: Found, backend: str) -> None:
    for name in LAST_DIGIT.get(backend, ()):
        mine, theirs = (found["trained"][name][0] for found in (watched, plain))
        for metric, values in theirs.items():
            assert mine[metric] == pytest.approx(values, rel=2e-6), (name, metric)


def test_callbacks_see_what_they_saw(watched: Found, plain: Found) -> None:
    assert watched["callbacks"]["returned"] == plain["callbacks"]


def test_a_fault_of_ours_does_not_stop_the_training(watched: Found, plain: Found) -> None:
    assert watched["broken"]["returned"] == plain["broken"]
    assert any("planted" in error for error in watched["broken"]["errors"])
