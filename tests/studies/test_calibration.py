"""The calibration study on a corpus of three runs: what is recorded, packed, labelled, judged and counted."""

from __future__ import annotations

import math
import os
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("sklearn")
pytest.importorskip("networkx")

from studies.calibration import corpus, figures, forks, judging, outcomes, packing, tables, thresholds
from studies.calibration.corpus import Recipe
from studies.calibration.statistics import Share, wilson

from trimtab.findings import judge
from trimtab.runs import Record

HEALTHY = Recipe("binary-adam", 1)
SICK = Recipe("binary-adam", 1, "lr-d10000")
BLOWN = Recipe("binary-adam", 1, "nan-batch")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three recipes trained in forked children."""
    folder = tmp_path_factory.mktemp("calibration") / "runs"
    assert forks.train_all([HEALTHY, SICK, BLOWN], folder, jobs=2) == []
    return folder


@pytest.fixture(scope="module")
def packed(runs: Path) -> packing.PackedCorpus:
    folder = runs.parent / "packed"
    assert packing.pack([HEALTHY, SICK, BLOWN], runs, folder) == 3
    return packing.PackedCorpus(folder)


def test_what_is_trained_is_not_trained_again(runs: Path) -> None:
    before = {path: os.stat(path).st_mtime_ns for path in runs.glob(f"*/{packing.OUTCOME}")}
    assert forks.train_all([HEALTHY, SICK, BLOWN], runs, jobs=1) == []
    assert {path: os.stat(path).st_mtime_ns for path in runs.glob(f"*/{packing.OUTCOME}")} == before
    assert len(before) == 3


def test_a_recipe_that_fails_is_named_and_leaves_its_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(corpus.BASES, "binary-broken", ("binary", {"optimizer": "no such"}))
    broken = Recipe("binary-broken", 0)
    assert forks.train_all([broken], tmp_path, jobs=1) == ["binary-broken-s0"]
    assert "no such" in (tmp_path / "binary-broken-s0.error").read_text(encoding="utf-8")


def test_ranks_leave_one_record_and_hold_one_model_only_where_their_gradients_are_averaged(tmp_path: Path) -> None:
    together, apart = Recipe("mlp-ranks", 1), Recipe("mlp-ranks", 1, "no-average")
    assert forks.train_all([together, apart], tmp_path, jobs=1) == []
    for recipe, equal in ((together, True), (apart, False)):
        record = Record.open(tmp_path / recipe.name)
        ranks = record.series()
        assert [entry["rank"] for entry in record.meta["processes"]] == [0, 1]
        assert [series.process for series in ranks] == [0, 1]
        norms = [series.steps["grad_norm"] for series in ranks]
        assert np.array_equal(*norms) == equal
        assert not np.array_equal(*(series.steps["loss"] for series in ranks))  # each on batches of its own
        assert ("rank-divergence" in {f.kind for f in judge(record).findings}) != equal
        assert not list((tmp_path / recipe.name).glob("*.messages"))


@pytest.mark.parametrize("recipe", [HEALTHY, BLOWN], ids=lambda r: r.name)
def test_packing_keeps_a_record_as_it_was(runs: Path, packed: packing.PackedCorpus, recipe: Recipe) -> None:
    before = Record.open(runs / recipe.name)
    after = next(run for run in packed.runs() if run.recipe == recipe).record
    for table in ("steps", "losses", "metrics", "events"):
        _assert_same(before.table(table), after.table(table))
    (series,), (again,) = before.series(), after.series()
    assert again.info == series.info
    assert len(series.sampled_steps) >= 2
    for step in series.sampled_steps:
        _assert_same(series.tensors(step), again.tensors(step))
        _assert_same(series.modules(step), again.modules(step))


def _assert_same(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert before.keys() == after.keys()
    for name, column in before.items():
        np.testing.assert_array_equal(column, after[name], err_msg=name)


def test_labels_follow_the_held_out_score(packed: packing.PackedCorpus) -> None:
    found = outcomes.labels(packed.runs())
    assert found[HEALTHY.name].group == "healthy"
    assert (found[SICK.name].group, found[SICK.name].trouble) == ("sick", "stalled-loss")
    assert (found[BLOWN.name].group, found[BLOWN.name].trouble) == ("sick", "non-finite")


def test_a_fault_without_a_healthy_twin_has_no_label(packed: packing.PackedCorpus) -> None:
    alone = [run for run in packed.runs() if run.recipe == SICK]
    assert outcomes.labels(alone)[SICK.name].group == "middling"


def test_judging_counts_each_run_once(packed: packing.PackedCorpus) -> None:
    judged = judging.judge_all(packed, jobs=1)
    assert [j.name for j in judged] == sorted((HEALTHY.name, SICK.name, BLOWN.name))
    blown = next(j for j in judged if j.recipe == BLOWN)
    assert "non-finite" in {said.kind for said in blown.said}
    assert "ExplodingTensor" in blown.alarms["SageMaker Debugger"]
    whole = tables.row("all", judged)
    assert (whole.found.of, whole.alarms.of) == (2, 1)


def test_a_cause_counts_only_in_the_finding_that_names_the_fault() -> None:
    said = (
        judging.Said("crash", "fatal", 0, ("learning-rate-too-low",), ""),
        judging.Said("slow-loss", "serious", 1, ("weak-optimizer", "learning-rate-too-low"), ""),
    )
    label = outcomes.Label("sick", "", "slow-loss")
    judged = judging.Judged(SICK, label, 0.0, "stalled", said, {})
    assert judged.found
    assert not judged.cause_among(1)
    assert judged.cause_among(3)


def test_a_note_is_neither_an_answer_nor_an_alarm() -> None:
    said = (judging.Said("slow-loss", "note", 0, ("learning-rate-too-low",), ""),)
    judged = judging.Judged(SICK, outcomes.Label("sick", "", "slow-loss"), 0.0, "stalled", said, {})
    assert not judged.found
    assert not judged.loud


def test_what_falls_short_is_said_per_trouble_and_per_family() -> None:
    label = outcomes.Label("sick", "", "slow-loss")
    right = (judging.Said("slow-loss", "serious", 0, ("learning-rate-too-low",), ""),)
    good, missed = (judging.Judged(SICK, label, 0.0, "stalled", said, {}) for said in (right, ()))
    said = tables.shortfalls([good] * 3 + [missed])
    assert said[1].startswith("`slow-loss` is found in 75 % (30 to 95; 3 of 4), has it among the first three in 75 %")
    assert said[2].startswith("A sick run of the family binary is found in 75 %")
    assert "Fewer than 60 held-out sick runs" in said[3]
    assert tables.shortfalls([good] * 100) == []


@pytest.mark.parametrize(
    ("hits", "of", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0)],  # Newcombe 1998, table I, method 3
)
def test_wilson_against_published_values(hits: int, of: int, low: float, high: float) -> None:
    assert wilson(hits, of) == pytest.approx((low, high), abs=5e-5)


def test_wilson_of_nothing_is_everything() -> None:
    assert wilson(0, 0) == (0.0, 1.0)
    assert str(Share(0, 0)) == "none"


def test_the_threshold_spares_the_healthy_and_catches_what_lies_beyond() -> None:
    assert thresholds.best_threshold([0.5, 3.0, 5.0], [0.0, 1.0, 2.0], above=True) == 2.5
    assert thresholds.best_threshold([0.5, -1.0], [0.0, 1.0], above=False) == -0.5
    assert thresholds.best_threshold([0.5], [0.0, 1.0], above=True) == math.inf
    assert thresholds.best_threshold([math.inf], [0.0, 1.0], above=True) == 1.0
    assert thresholds.best_threshold([math.nan, 3.0], [math.nan, 1.0], above=True) == 2.0


def test_every_plan_names_a_fault_and_bases_that_exist() -> None:
    for fault, bases, seeds in corpus.PLANS:
        assert fault in corpus.FAULTS
        assert set(bases) <= corpus.BASES.keys()
        assert len(set(bases)) == len(bases)
        assert seeds % 2 == 0


def test_every_planted_run_comes_with_its_twin() -> None:
    for quick in (False, True):
        every = set(corpus.recipes(quick=quick))
        assert {recipe.twin for recipe in every} <= every


def test_every_fault_speaks_of_troubles_and_causes_that_are_known() -> None:
    from trimtab.findings import CAUSES, TROUBLES

    troubles = {trouble.name for trouble in TROUBLES}
    for fault in corpus.FAULTS.values():
        assert set(fault.troubles) <= troubles, fault.name
        assert set(fault.causes) <= set(CAUSES), fault.name


def test_a_chart_is_xml_and_shows_every_row() -> None:
    shares = [Share(3, 4), Share(0, 0)]
    svg = figures.chart(
        "A < B", ["one", "two & three"], [figures.Series("x", "circle", figures.BLUE, shares)], "share [%]"
    )
    text = "".join(ET.fromstring(svg).itertext())
    assert all(word in text for word in ("A < B", "one", "two & three", "75", "no runs", "share [%]"))
