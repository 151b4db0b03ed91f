"""What holds whatever the gradients are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from tests.policies._namespaces import KINDS
from tests.policies._steps import SHAPES, gradients, norm_of, walked

from trimtab.policies import NUMPY as XP
from trimtab.policies import compose, parse_policy
from trimtab.policies._history import appended, count, median, nothing_yet, quantile

NUMPY = KINDS["numpy"]()
ENTRIES = st.floats(-(2.0**40), 2.0**40, width=32)
GRADS = st.tuples(*(arrays(np.float32, shape, elements=ENTRIES) for shape in SHAPES)).map(list)
WALKS = st.lists(st.floats(-8, 8), min_size=1, max_size=40)
CLIPS = (
    "clip=global:1",
    "clip=value:0.3",
    "clip=tensor:0.5",
    "clip=autoclip:10",
    "clip=zclip:2",
    "clip=adagc",
    "clip=agc",
)


@pytest.mark.parametrize("text", CLIPS)
@given(walk=st.lists(GRADS, min_size=1, max_size=5))
def test_a_clip_turns_and_lengthens_no_entry(text: str, walk: list[list[np.ndarray[Any, Any]]]) -> None:
    for step, grads in zip(walked(NUMPY, parse_policy(text), walk)[1], walk, strict=True):
        assert not step.skip
        for clipped, g in zip(step.grads, grads, strict=True):
            assert (np.abs(clipped) <= np.abs(g)).all()
            assert (clipped * g >= 0).all()


HARMLESS = ("skip=nonfinite", "clip=global:1", "clip=global:0.3,epsilon=0", "clip=tensor:1", "clip=value:1")


@pytest.mark.parametrize("text", [*HARMLESS, "clip=tensor:2 clip=global:1"])
@given(share=st.floats(0, 1), seed=st.integers(0, 99))
def test_what_is_harmless_passes_as_it_is(text: str, share: float, seed: int) -> None:
    policy = compose(*map(parse_policy, text.split()))
    assert policy.harmless is not None
    grads = gradients(share * min(policy.harmless, 1e6), seed)
    (step,) = walked(NUMPY, policy, [grads])[1]
    assert not step.skip
    assert all((a == b).all() for a, b in zip(step.grads, grads, strict=True))


@pytest.mark.parametrize("text", ["skip=spike", "clip=zclip", "clip=agc", "gradient=sign", "gradient=centralised"])
def test_who_remembers_or_changes_every_step_knows_no_harmless_norm(text: str) -> None:
    assert parse_policy(text).harmless is None
    assert compose(parse_policy("skip=nonfinite"), parse_policy(text)).harmless is None


@given(grads=GRADS, most=st.floats(1e-3, 1e3))
def test_a_bound_holds(grads: list[np.ndarray[Any, Any]], most: float) -> None:
    (whole,) = walked(NUMPY, parse_policy(f"clip=global:{most}"), [grads])[1]
    assert norm_of(whole.grads) <= most * (1 + 1e-6)
    (each,) = walked(NUMPY, parse_policy(f"clip=tensor:{most}"), [grads])[1]
    assert all(norm_of([g]) <= most * (1 + 1e-6) for g in each.grads)
    (entries,) = walked(NUMPY, parse_policy(f"clip=value:{most}"), [grads])[1]
    assert all((np.abs(g) <= np.float32(most)).all() for g in entries.grads)


@pytest.mark.parametrize("text", ["skip=spike", "clip=autoclip"])
@given(logs=WALKS, power=st.integers(-8, 8))
def test_what_compares_knows_no_unit(text: str, logs: list[float], power: int) -> None:
    """Gradients times a power of two are judged alike, but for the epsilons."""
    walk = [gradients(float(np.exp(x)) + 0.5, seed=i) for i, x in enumerate(logs)]
    unit = np.float32(2.0**power)
    found, other = (
        walked(NUMPY, parse_policy(text), each)[1] for each in (walk, [[g * unit for g in grads] for grads in walk])
    )
    if text == "skip=spike":
        assert [o.skip for o in found] == [o.skip for o in other]
    else:
        np.testing.assert_allclose([o.scale for o in found], [o.scale for o in other], rtol=1e-3)


@given(grads=GRADS)
def test_centralised_units_sum_to_nothing_and_centralising_twice_is_once(grads: list[np.ndarray[Any, Any]]) -> None:
    (once,) = walked(NUMPY, parse_policy("gradient=centralised"), [grads])[1]
    (twice,) = walked(NUMPY, parse_policy("gradient=centralised"), [once.grads])[1]
    for first, second, g in zip(once.grads, twice.grads, grads, strict=True):
        slack = 1e-5 * float(np.abs(g).max()) + 1e-30
        np.testing.assert_allclose(first, second, atol=slack)
        if g.ndim > 1:
            np.testing.assert_allclose(first.sum(axis=1), 0, atol=10 * slack)


@given(values=st.lists(st.floats(-50, 50, width=32), max_size=30), q=st.floats(0, 1), window=st.integers(1, 20))
def test_the_history_is_that_of_its_last_values(values: list[float], q: float, window: int) -> None:
    history = nothing_yet(window, XP)
    for value in values:
        history = appended(history, np.float32(value), XP)
    last = values[-window:]
    assert count(history, XP) == len(last)
    expected = np.quantile(np.array(last), q) if last else 0.0
    with XP.quiet():
        assert quantile(history, q, XP) == pytest.approx(expected, abs=1e-3)
        assert median(history, XP) == pytest.approx(np.median(last) if last else 0.0, abs=1e-5)
