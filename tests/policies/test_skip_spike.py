"""When skip=spike acts, and when it must not."""

from __future__ import annotations

import numpy as np
import pytest
from tests.policies._namespaces import KINDS
from tests.policies._steps import gradients, spoilt, walked

from trimtab.policies import compose, parse_policy

NUMPY = KINDS["numpy"]()


def skips(norms: list[float], text: str = "skip=spike") -> list[int]:
    walk = [gradients(norm, seed=i) if np.isfinite(norm) else spoilt(norm) for i, norm in enumerate(norms)]
    return [i for i, o in enumerate(walked(NUMPY, parse_policy(text), walk)[1]) if o.skip]


def healthy(steps: int, seed: int, spread: float = 0.3, drift: float = 0.0) -> list[float]:
    random = np.random.default_rng(seed)
    return list(np.exp(spread * random.normal(size=steps) + drift * np.arange(steps)))


def test_judges_from_the_second_step_on() -> None:
    assert skips([1.0, 1e4, 1.0]) == [1]
    assert skips([1.0, 100.0, 1.0]) == []
    assert skips([1.0, 1.1, 0.9, 1.0, 1.2, 60.0, 1.0]) == [5]


@pytest.mark.parametrize("seed", range(10))
def test_healthy_norms_pass_and_a_spike_does_not(seed: int) -> None:
    norms = healthy(400, seed)
    assert skips(norms) == []
    norms[250] *= 300
    assert skips(norms) == [250]


def test_a_slow_rise_and_any_fall_pass() -> None:
    assert skips(healthy(300, 0, drift=0.03)) == []
    assert skips(healthy(300, 0, drift=-0.05)) == []
    assert skips([1.0] * 20 + [0.0] + [1.0] * 20) == []


def test_one_spike_does_not_hide_the_next() -> None:
    norms = healthy(60, 1)
    for place in (30, 31, 32, 40):
        norms[place] = 1e5
    assert skips(norms) == [30, 31, 32, 40]


def test_a_new_level_is_taken_after_so_many_skips() -> None:
    norms = [*healthy(40, 2), *(1e4 * n for n in healthy(40, 3))]
    assert skips(norms) == [40, 41, 42]
    assert skips(norms, "skip=spike:6,patience=10") == list(range(40, 50))


def test_a_level_that_is_not_finite_is_never_taken() -> None:
    assert skips([*healthy(20, 2), *[np.nan] * 40, 1.0, 1e6, 1.0]) == [*range(20, 60), 61]


def test_in_a_composition_later_policies_do_not_remember_what_it_skips() -> None:
    both = compose(parse_policy("skip=spike"), parse_policy("clip=zclip:2.5,warm_up=5"))
    norms = healthy(60, 4, spread=0.05)
    without, _ = walked(NUMPY, both, [gradients(n, seed=i) for i, n in enumerate(norms)])
    norms[30:30] = [1e5]
    walk = [gradients(n, seed=i if i < 30 else i - 1) for i, n in enumerate(norms)]
    state, found = walked(NUMPY, both, walk)
    assert found[30].skip
    for ours, theirs in zip(state[1], without[1], strict=True):
        np.testing.assert_array_equal(ours, theirs)
