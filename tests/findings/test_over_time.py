"""Growth of the gradient over time, in a layer that is called step by step: what fires, and what must not."""

from __future__ import annotations

import numpy as np
import pytest

from trimtab.findings import judge, parts
from trimtab.findings._over_time import over_time

from ._planted import falling, flat, found, record, series, table

CALLS = 20


def recurrent(gradients: np.ndarray, *, passes: int = 1, kind: str = "Linear") -> dict[str, np.ndarray]:
    """Module rows of an input layer, a cell whose output has these gradients by call (log10), and two layers behind;
    the forward pass comes `passes` times."""
    once = [("input", 0.0), *(("cell", g) for g in gradients), ("head.0", 0.0), ("head.1", 0.0)]
    names, scales = zip(*once * passes, strict=True)
    count = len(names)
    return table(
        "modules", count, call=np.arange(count), module=list(names), kind=kind, weighted=True, elements=2048,
        out_rms=1.0, grad_rms=10.0 ** np.array(scales),
    )  # fmt: skip


def growing(decades: float, calls: int = CALLS) -> np.ndarray:
    """Back in time the gradient grows by so many decades."""
    return np.linspace(decades, 0.0, calls)


def verdict_of(modules, loss=None, **more):
    return judge(record(series(flat(200) if loss is None else loss, modules=modules, **more)))


def test_a_gradient_that_grows_call_by_call_explodes_and_says_so():
    finding = found(verdict_of(recurrent(growing(4.0))), "exploding-gradient")
    assert finding is not None
    assert (finding.severity, finding.first_step, finding.where) == ("fatal", 0, ({"module": "cell"},))
    assert finding.evidence["log10_backward_ratio"] == pytest.approx(4.0, abs=0.2)
    assert {c.cause for c in finding.causes} == {"initial-weights-too-large", "unclipped-recurrence"}
    assert "20 calls of cell" in finding.says


def test_under_a_clip_the_weights_alone_are_blamed():
    verdict = verdict_of(recurrent(growing(4.0)), grad_norm_raw=100.0, grad_norm=1.0)
    finding = found(verdict, "exploding-gradient")
    assert finding is not None
    assert [c.cause for c in finding.causes] == ["initial-weights-too-large"]


def test_a_start_that_the_training_got_over_is_a_note_or_a_warning_where_the_loss_began_high():
    fine = found(verdict_of(recurrent(growing(4.0)), falling(300)), "exploding-gradient")
    high = found(verdict_of(recurrent(growing(4.0)), np.geomspace(200, 0.1, 300)), "exploding-gradient")
    assert fine is not None
    assert high is not None
    assert (fine.severity, high.severity) == ("note", "warning")


rng = np.random.default_rng(0)


@pytest.mark.parametrize(
    "rows",
    [
        recurrent(growing(-6.0)),
        recurrent(growing(0.5)),
        recurrent(growing(3.0, 4)),
        recurrent(rng.normal(0, 1.0, CALLS)),
        recurrent(np.where(np.arange(CALLS) == 0, 4.0, 0.0)),
        recurrent(growing(4.0), kind="Embedding"),
        recurrent(np.full(CALLS, np.nan)),
    ],
    ids=["shrinks", "a little", "four calls", "noise", "one call", "an embedding", "not seen"],
)
@pytest.mark.parametrize("loss", [falling(200), flat(200)], ids=["healthy", "flat"])
def test_what_is_no_growth_over_time(rows, loss):
    assert found(verdict_of(rows, loss), "exploding-gradient") is None


@pytest.mark.parametrize("column", ["evaluations", "backwards"])
def test_passes_of_one_step_are_not_time(column):
    """A closure that is evaluated twenty times, gradients that are accumulated: each begins anew."""
    rows = recurrent(np.zeros(1), passes=CALLS)
    rows["grad_rms"] *= np.repeat(10.0 ** growing(4.0), 4)
    planted = record(series(falling(200), modules=rows, **{column: CALLS}))
    ((track,),) = parts(planted)
    assert over_time(track) is None
    assert found(judge(planted), "exploding-gradient") is None
