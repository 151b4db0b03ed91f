"""What every policy promises, on every kind of array. (Those on the host: test_recover_decisions.py.)"""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import numpy as np
import pytest
from tests.policies._namespaces import KINDS, Kind
from tests.policies._steps import gradients, leaves, norm_of, outcome, spoilt, training, vitals_of, walked

from trimtab.policies import NUMPY, POLICIES, Policy, compose, parse_policy

TEXTS = (
    "clip=global:1.0",
    "clip=value:0.3",
    "clip=tensor:0.5",
    "clip=autoclip:10,window=20",
    "clip=zclip:2.5,warm_up=5",
    "clip=adagc:1.05,warm_up=5",
    "clip=agc:0.01",
    "skip=nonfinite",
    "skip=spike:6,window=20,patience=2",
    "gradient=normalised",
    "gradient=sign",
    "gradient=centralised",
)
ALL = {text: parse_policy(text) for text in TEXTS}
ALL["all in turn"] = compose(
    *map(
        parse_policy,
        ("skip=spike:6,window=20", "gradient=centralised", "clip=agc:0.5", "clip=tensor:2", "clip=value:0.3"),
    )
)
ALL["norms anew"] = compose(*map(parse_policy, ("clip=zclip:2.5,warm_up=5", "clip=value:0.1", "clip=global:0.2")))


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    return KINDS[request.param]()


@pytest.fixture(params=ALL)
def policy(request: pytest.FixtureRequest) -> Policy:
    return ALL[request.param]


def test_every_policy_has_a_row_here() -> None:
    here = {policy.name for policy in ALL.values() if not policy.parts}
    others = POLICIES.keys() - here
    assert here < POLICIES.keys()
    assert all(parse_policy(name).on_host for name in others)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_never_lets_a_non_finite_gradient_through(policy: Policy, kind: Kind, bad: float) -> None:
    state = policy.start(3, kind.xp)
    after, decision = policy.decide(state, vitals_of(kind, spoilt(bad)), kind.xp)
    assert outcome(decision, spoilt(bad)).skip
    assert np.isfinite(outcome(decision, spoilt(bad)).scale).all()
    for old, new in zip(leaves(state), leaves(after), strict=True):
        np.testing.assert_array_equal(new, old)


@pytest.mark.parametrize("norm", [0.0, 1e-30, 1e-3, 1.0, 1e3, 1e18, 1e30])
def test_what_is_let_through_is_finite(policy: Policy, kind: Kind, norm: float) -> None:
    for walk in ([gradients(norm)], [*training(12), gradients(norm)]):
        last = walked(kind, policy, walk)[1][-1]
        assert last.skip or all(np.isfinite(g).all() for g in last.grads)
        assert np.isfinite(last.scale).all()


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
def test_decides_the_same_on_every_kind_of_array(policy: Policy, kind: Kind, compiled: bool) -> None:
    decides_as_numpy_does(policy, kind, compiled)


def test_decides_the_same_compiled_by_xla_in_tensorflow(policy: Policy) -> None:
    tf = pytest.importorskip("tensorflow")
    decides_as_numpy_does(
        policy, KINDS["tensorflow"]()._replace(compiled=lambda f: tf.function(f, jit_compile=True)), True
    )


def decides_as_numpy_does(policy: Policy, kind: Kind, compiled: bool) -> None:
    """Skips exactly; scales and gradients but for the rounding of sums in another order."""
    walk = training()
    expected_state, expected = walked(KINDS["numpy"](), policy, walk)
    state, found = walked(kind, policy, walk, compiled=compiled)
    assert [o.skip for o in found] == [o.skip for o in expected]
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours.scale, theirs.scale, rtol=1e-5)
        for g, h in zip(ours.grads, theirs.grads, strict=True):
            if not ours.skip:
                np.testing.assert_allclose(g, h, rtol=1e-5, atol=1e-7)
    for ours_left, theirs_left in zip(leaves(state), leaves(expected_state), strict=True):
        np.testing.assert_allclose(ours_left, theirs_left, rtol=1e-4, atol=1e-6)


def test_is_pure(policy: Policy, kind: Kind) -> None:
    state, _ = walked(kind, policy, training(20))
    grads = gradients(5.0)
    vitals = vitals_of(kind, grads)
    before = copy.deepcopy([leaf.copy() for leaf in leaves(state)])
    first, second = (policy.decide(state, vitals, kind.xp) for _ in range(2))
    for old, now in zip(before, leaves(state), strict=True):
        np.testing.assert_array_equal(old, now)
    for given, now in zip(vitals_of(kind, grads).grads, vitals.grads, strict=True):
        np.testing.assert_array_equal(np.asarray(given), np.asarray(now))
    for one, other in zip(leaves(first[0]), leaves(second[0]), strict=True):
        np.testing.assert_array_equal(one, other)
    assert outcome(first[1], grads).skip == outcome(second[1], grads).skip


def test_memory_keeps_its_shapes_and_dtype(policy: Policy, kind: Kind) -> None:
    start = leaves(policy.start(3, kind.xp))
    for leaf, first in zip(leaves(walked(kind, policy, training(30))[0]), start, strict=True):
        assert leaf.shape == first.shape
        assert leaf.dtype == first.dtype == np.float32


def test_a_bad_step_leaves_the_rest_as_if_it_had_not_been(policy: Policy) -> None:
    healthy = [gradients(norm, seed=i) for i, norm in enumerate(np.linspace(0.5, 1.5, 40))]
    poisoned = [*healthy[:20], spoilt(np.nan), spoilt(np.inf), spoilt(-np.inf, 1e30), *healthy[20:]]
    state, found = walked(KINDS["numpy"](), policy, healthy)
    other_state, others = walked(KINDS["numpy"](), policy, poisoned)
    assert [o.skip for o in others[20:23]] == [True] * 3
    assert [o.scale.tolist() for o in others[:20] + others[23:]] == [o.scale.tolist() for o in found]
    for leaf, other in zip(leaves(state), leaves(other_state), strict=True):
        np.testing.assert_array_equal(leaf, other)


def test_a_gradient_without_tensors_or_entries_is_no_error(policy: Policy, kind: Kind) -> None:
    empty = [np.zeros((0, 3), np.float32), np.zeros(0, np.float32), np.zeros((2, 0), np.float32)]
    vitals = vitals_of(kind, empty, of_weights=empty)
    _, decision = policy.decide(policy.start(3, kind.xp), vitals, kind.xp)
    assert not outcome(decision, empty).skip


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_tensors_keep_their_dtype(policy: Policy, kind: Kind, dtype: Any) -> None:
    if dtype == np.float64 and "Jax" in type(kind.xp).__name__:
        pytest.skip("JAX has no float64 unless asked")
    grads = [g.astype(dtype) for g in gradients(3.0)]
    vitals = vitals_of(kind, grads, of_weights=[g * dtype(2) for g in grads])
    _, decision = policy.decide(policy.start(3, kind.xp), vitals, kind.xp)
    assert decision.grads is None or {str(g.dtype) for g in decision.grads} == {str(vitals.grads[0].dtype)}


def test_a_finite_gradient_beyond_float32_squares(policy: Policy, kind: Kind) -> None:
    """Its length is unknown: who needs it skips; skip=nonfinite does not call it non-finite."""
    grads = gradients(1e25)
    _, decision = policy.decide(policy.start(3, kind.xp), vitals_of(kind, grads), kind.xp)
    if not policy.parts:
        assert outcome(decision, grads).skip == ("norms" in policy.needs)


def test_policies_are_values(policy: Policy) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        policy.text = ""  # type: ignore[misc]
    assert policy != parse_policy("clip=global:77")
    assert len({policy, policy}) == 1


@pytest.mark.parametrize("name", [name for name in POLICIES if name.startswith("clip=") and name != "clip=autoclip"])
def test_a_clip_leaves_every_bit_where_nothing_is_to_be_clipped(name: str, kind: Kind) -> None:
    """(AutoClip clips nine steps of ten.)"""
    policy = parse_policy({"clip=value": "clip=value:9", "clip=tensor": "clip=tensor:9"}.get(name, name))
    walk = [gradients(0.002)] * 30 if name == "clip=agc" else [gradients(0.5)] * 120
    for step, grads in zip(walked(kind, policy, walk)[1], walk, strict=True):
        assert (step.scale == 1).all()
        for found, given in zip(step.grads, grads, strict=True):
            np.testing.assert_array_equal(found, given)


def test_works_on_the_host_without_a_framework() -> None:
    policy = parse_policy("clip=global:1.0")
    decision = policy.decide(policy.start(3, NUMPY), vitals_of(KINDS["numpy"](), gradients(4.0)), NUMPY)[1]
    assert norm_of(outcome(decision, gradients(4.0)).grads) == pytest.approx(1.0, rel=1e-5)
