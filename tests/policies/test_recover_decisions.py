"""Policies on the host: what is decided of a training's norms, step by step."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.policies._namespaces import KINDS

from trimtab.policies import (
    NUMPY,
    Decision,
    Policy,
    PolicyError,
    Recovery,
    State,
    Vitals,
    compose,
    explained,
    name_of,
    parse_policy,
    recover_cut,
    recover_rollback,
    refuse_on_host,
    warmup,
)
from trimtab.verbs._explain import explain

TEXTS = ("recover=rollback:5,skip=2,patience=3,limit=2", "recover=cut:0.1,steps=4", "warmup=6")
NOTHING = Recovery()


def vitals(norm: float, *, raw: float | None = None, weights: bool = True) -> Vitals:
    with np.errstate(all="ignore"):
        squares = np.array([np.float32(norm)]) ** 2
    return Vitals(
        squares,
        np.isfinite(norm),
        raw_norm=None if raw is None else np.float32(raw),
        weights_finite=lambda: weights,
    )


def walk(policy: Policy, steps: Iterable[float | Vitals]) -> tuple[list[State], list[Decision]]:
    """The memories and decisions of each step; a number is its norm."""
    state = policy.start(1, NUMPY)
    states, decisions = [], []
    for step in steps:
        state, decision = policy.decide(state, step if isinstance(step, Vitals) else vitals(step), NUMPY)
        states.append(state)
        decisions.append(decision)
    return states, decisions


def did(decisions: list[Decision], field: str) -> list[int]:
    """The steps at which a field of the recovery is set."""
    return [i for i, decision in enumerate(decisions) if getattr(decision.recovery or NOTHING, field) is True]


def rates(decisions: list[Decision]) -> list[float]:
    return [(decision.recovery or NOTHING).lr_scale for decision in decisions]


# recover=rollback


def test_copies_are_kept_every_so_many_good_steps_and_the_first_at_once() -> None:
    _, decisions = walk(recover_rollback(every=5), [1.0] * 18)
    assert did(decisions, "keep") == [0, 5, 10, 15]
    assert not any(decision.skip for decision in decisions)


def test_no_copy_is_kept_while_a_step_is_bad() -> None:
    _, decisions = walk(recover_rollback(every=5, patience=4), [1.0] * 5 + [1e6, math.nan, 1e6] + [1.0] * 7)
    assert did(decisions, "keep") == [0, 8, 13]
    assert [i for i, decision in enumerate(decisions) if decision.skip] == [6]
    assert did(decisions, "back") == []


@pytest.mark.parametrize("bad", [1e6, math.nan, math.inf, 1e30])
def test_patience_is_counted_in_bad_steps_on_end(bad: float) -> None:
    policy = recover_rollback(every=5, skip=2, patience=3)
    assert did(walk(policy, [1.0] * 12 + [bad, bad, 1.0, bad, bad])[1], "back") == []
    _, decisions = walk(policy, [1.0] * 12 + [bad] * 3 + [1.0] * 12)
    assert did(decisions, "back") == [14]
    assert did(decisions, "rest") == [15, 16]
    assert [decision.skip for decision in decisions[14:18]] == [True, True, True, False]
    # The newer copy went with the trouble: the next is made after `every` good steps.
    assert did(decisions, "keep") == [0, 5, 10, 22]


@pytest.mark.parametrize("bad", [0.0, 1e-20, 1.0, 5.0])
def test_short_and_usual_gradients_are_not_bad(bad: float) -> None:
    assert did(walk(recover_rollback(patience=1), [1.0] * 60 + [bad] * 20)[1], "back") == []


def test_a_weight_that_is_not_finite_needs_no_patience() -> None:
    lost = vitals(math.nan, weights=False)
    assert did(walk(recover_rollback(), [1.0] * 12 + [lost])[1], "back") == [12]


def test_weights_are_looked_at_before_each_copy_and_where_a_gradient_is_not_finite_only() -> None:
    looked = []

    def look(step: int) -> Vitals:
        def weights_finite() -> bool:
            looked.append(step)
            return step != 11

        norm = math.nan if step == 7 else 1.0
        return dataclasses.replace(vitals(norm), weights_finite=weights_finite)

    _, decisions = walk(recover_rollback(every=5, skip=0), [look(step) for step in range(14)])
    assert looked == [0, 5, 7, 11]
    assert did(decisions, "keep") == [0, 5]
    assert did(decisions, "back") == [11]


def test_after_its_limit_it_gives_up_and_says_so_once() -> None:
    policy = recover_rollback(every=5, skip=1, patience=2, limit=2)
    _, decisions = walk(policy, [1.0] * 12 + [1e6] * 40 + [math.nan])
    assert did(decisions, "back") == [13, 16]
    assert did(decisions, "gives_up") == [19]
    after = decisions[20:]
    assert all(decision.recovery is None for decision in after)
    assert [decision.skip for decision in after] == [False] * (len(after) - 1) + [True]


def test_norms_before_the_scripts_clip_are_judged() -> None:
    steps = [vitals(1.0, raw=1e5 if i >= 30 else 3.0) for i in range(33)]
    assert did(walk(recover_rollback(patience=3), steps)[1], "back") == [32]


def test_what_it_remembers_of_norms_goes_back_and_its_count_does_not() -> None:
    policy = recover_rollback(every=5, patience=2, limit=1)
    states, _ = walk(policy, [1.0 + i for i in range(10)] + [1e9] * 2)
    gone_back = policy.returned(states[-1], states[5])
    assert np.array_equal(gone_back[0], states[5][0])
    assert gone_back[1:] == states[-1][1:]


# recover=cut


def test_a_cut_lasts_and_returns() -> None:
    _, decisions = walk(recover_cut(factor=0.2, steps=4), [1.0] * 20 + [1e5] + [1.0] * 10)
    found = rates(decisions)
    assert found[:20] == [1.0] * 20
    assert found[20:24] == [0.2] * 4
    assert found[24:28] == pytest.approx([0.2, 0.4, 0.6, 0.8])
    assert found[28:] == [1.0] * 3
    assert not any(decision.skip for decision in decisions)


def test_another_spike_begins_the_cut_anew_and_nan_is_left_out() -> None:
    _, decisions = walk(recover_cut(factor=0.5, steps=3), [1.0] * 20 + [1e5, 1.0, math.nan] + [1.0] * 4)
    assert rates(decisions)[20:27] == [0.5] * 5 + [0.5, pytest.approx(0.5 + 0.5 / 3)]
    assert [i for i, decision in enumerate(decisions) if decision.skip] == [22]


def test_a_new_level_is_no_trouble() -> None:
    """As for skip=spike: after three spikes the gradient is taken to be that long."""
    _, decisions = walk(recover_cut(steps=2), [1.0] * 20 + [1e5] * 20)
    assert rates(decisions)[-10:] == [1.0] * 10


def test_a_cut_is_where_skip_spike_would_skip() -> None:
    random = np.random.default_rng(0)
    norms = np.exp(random.normal(size=300) + 8 * (random.random(300) < 0.05))
    _, skips = walk(parse_policy("skip=spike"), norms)
    _, cuts = walk(recover_cut(factor=0.1, steps=1), norms)
    skipped = [bool(decision.skip) for decision in skips]
    assert any(skipped)
    assert [
        rate < 1.0 and not (i and skipped[i - 1] and not skipped[i]) for i, rate in enumerate(rates(cuts))
    ] == skipped


# warmup


@given(steps=st.integers(1, 200))
def test_a_warm_up_rises_to_one(steps: int) -> None:
    _, decisions = walk(warmup(steps), [1.0] * (steps + 3))
    assert rates(decisions) == [min(1.0, (k + 1) / steps) for k in range(steps + 3)]


def test_a_warm_up_counts_steps_that_others_leave_out() -> None:
    policy = compose(parse_policy("skip=nonfinite"), warmup(4))
    _, decisions = walk(policy, [1.0, math.nan, 1.0])
    assert rates([decision.parts[1] for decision in decisions]) == [0.25, 0.5, 0.75]


# All of them.


@pytest.mark.parametrize("text", TEXTS)
@given(
    norms=st.lists(st.one_of(st.floats(0, 1e30), st.sampled_from([0.0, 1.0, math.nan, math.inf])), max_size=60),
    weights=st.booleans(),
)
def test_whatever_comes_the_memory_is_finite_and_the_factor_a_factor(
    text: str, norms: list[float], weights: bool
) -> None:
    states, decisions = walk(parse_policy(text), [vitals(norm, weights=weights) for norm in norms])
    for norm, state, decision in zip(norms, states, decisions, strict=True):
        wanted = decision.recovery or NOTHING
        assert 0.0 < wanted.lr_scale <= 1.0
        assert decision.skip or math.isfinite(norm)
        assert decision.skip or not (wanted.back or wanted.rest)
        assert not (wanted.back and wanted.keep)
        for part in state:
            assert not np.isnan(part).any()
            assert np.shape(part) or part >= 0


@pytest.mark.parametrize("text", TEXTS)
def test_the_same_is_decided_of_arrays_of_torch(text: str) -> None:
    kind = KINDS["torch"]()
    policy = compose(parse_policy(text), parse_policy("clip=value:1"))
    norms = [1.0] * 12 + [1e6] * 4 + [math.nan] + [1.0] * 12
    states = policy.start(1, NUMPY), policy.start(1, kind.xp)
    for norm in norms:
        mine = dataclasses.replace(vitals(norm), grads=(np.array([norm], np.float32),))
        given_ = dataclasses.replace(
            mine,
            grad_sum_of_squares=kind.give(mine.grad_sum_of_squares),
            all_finite=kind.give(mine.all_finite),
            grads=tuple(map(kind.give, mine.grads)),
        )
        (one, decision), (other, of_torch) = (
            policy.decide(state, seen, xp)
            for state, seen, xp in zip(states, (mine, given_), (NUMPY, kind.xp), strict=True)
        )
        states = one, other
        assert decision.parts[0].recovery == of_torch.parts[0].recovery
        assert bool(decision.skip) == bool(of_torch.skip)


@pytest.mark.parametrize("text", TEXTS)
def test_deciding_is_pure(text: str) -> None:
    policy = parse_policy(text)
    states, _ = walk(policy, [1.0] * 20)
    before = [np.array(part) for part in states[-1]]
    (one, first), (other, second) = (policy.decide(states[-1], vitals(1e7), NUMPY) for _ in range(2))
    assert first == second
    for a, b, kept, part in zip(one, other, before, states[-1], strict=True):
        assert np.array_equal(a, b)
        assert np.array_equal(kept, part)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("recover=rollback:0", "every must be a whole number from 1 to 10000, got every=0"),
        ("recover=rollback:nan", "got every=nan"),
        ("recover=rollback:2.5", "got every=2.5"),
        ("recover=rollback:100,skip=-1", "skip must be a whole number from 0 to 10000, got skip=-1"),
        ("recover=rollback:100,patience=0", "patience must be"),
        ("recover=rollback:100,limit=0", "limit must be"),
        ("recover=rollback:100,threshold=-6", "threshold must be"),
        ("recover=cut:0", "factor must be a number between 0 and 1, got factor=0"),
        ("recover=cut:1", "got factor=1"),
        ("recover=cut:nan", "got factor=nan"),
        ("recover=cut:0.1,steps=0", "steps must be"),
        ("warmup=0", "steps must be a whole number from 1 to 10000, got steps=0"),
        ("warmup=-3", "got steps=-3"),
        ("warmup=nan", "got steps=nan"),
        ("warmup=", "steps must be a number, got nothing"),
        ("warmup=many", "steps must be a number, got 'many'"),
        ("lr=warmup", "did you mean `warmup`?"),
        ("recover=roll", "did you mean `recover=rollback`?"),
    ],
)
def test_bad_settings_are_refused(text: str, says: str) -> None:
    with pytest.raises(PolicyError) as error:
        parse_policy(text)
    assert says in str(error.value)


@pytest.mark.parametrize("value", ["5", None, True, [1], math.nan])
def test_bad_settings_from_python_are_refused(value: Any) -> None:
    for make in (recover_rollback, recover_cut, warmup):
        with pytest.raises(PolicyError, match="must be"):
            make(value)


@pytest.mark.parametrize(
    ("typed", "text", "name"),
    [
        ("warmup=100", "warmup=100", "warmup"),
        ("warmup", "warmup=100", "warmup"),
        ("warmup:steps=7", "warmup=7", "warmup"),
        ("recover=rollback:200,skip=0", "recover=rollback:200,skip=0", "recover=rollback"),
        ("recover=cut", "recover=cut:0.1", "recover=cut"),
    ],
)
def test_they_are_read_back_from_their_text(typed: str, text: str, name: str) -> None:
    policy = parse_policy(typed)
    assert (policy.text, policy.name, name_of(typed)) == (text, name, name)
    assert parse_policy(policy.text) == policy


@pytest.mark.parametrize(
    ("texts", "says"),
    [
        (["clip=global:1", "recover=rollback"], "which clip=global has evened out; put recover=rollback first"),
        (["clip=agc", "recover=cut"], "which clip=agc has evened out; put recover=cut first"),
        (["gradient=sign", "recover=rollback"], "put recover=rollback first"),
        (["warmup=10", "warmup=20"], "the same policy twice"),
        (["recover=cut", "skip=spike", "recover=cut:0.5"], "the same policy twice"),
    ],
)
def test_orders_that_make_no_sense_are_refused(texts: list[str], says: str) -> None:
    with pytest.raises(PolicyError) as error:
        compose(*map(parse_policy, texts))
    assert says in str(error.value)


def test_other_frameworks_refuse_them() -> None:
    for text in TEXTS:
        with pytest.raises(PolicyError, match=r"acts on the host.*PyTorch's optimizers, not for optax; leave it out"):
            refuse_on_host(compose(parse_policy("skip=nonfinite"), parse_policy(text)), "optax")
    refuse_on_host(compose(parse_policy("skip=nonfinite"), parse_policy("clip=agc")), "optax")


def test_optax_refuses_them_at_once() -> None:
    optax = pytest.importorskip("optax")
    import trimtab

    with pytest.raises(PolicyError, match=r"warmup=10.* not for optax"):
        trimtab.guard(optax.adam(1e-3), None, "skip=nonfinite", "warmup=10")


@pytest.mark.parametrize("name", sorted(name_of(text) for text in TEXTS))
def test_they_are_explained(name: str) -> None:
    assert "Source: " in explained(name).text
    assert explain(f"{name}=100" if name == "warmup" else f"{name}:3") == explained(name)
