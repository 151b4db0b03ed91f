"""Policies against implementations that are not ours: other libraries, or slow ones in float64 from the papers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from tests.policies._namespaces import KINDS, back
from tests.policies._steps import LAYOUT, SHAPES, Outcome, gradients, norm_of, training, vitals_of, walked, weights

from trimtab.policies import Layout, Policy, compose, parse_policy

NUMPY = KINDS["numpy"]()


def finite_training(steps: int = 60) -> list[list[np.ndarray[Any, Any]]]:
    return [grads for grads in training(steps) if all(np.isfinite(g).all() for g in grads)]


def ulps(found: np.ndarray[Any, Any], expected: np.ndarray[Any, Any]) -> float:
    return float(np.max(np.abs(found - expected) / np.spacing(np.abs(expected)), initial=0))


def once(policy: Policy, grads: Any, name: str = "numpy", layout: Layout = LAYOUT) -> Outcome:
    return walked(KINDS[name](), policy, [grads], layout=layout)[1][0]


# Libraries


@pytest.mark.parametrize("norm", [0.3, 0.9999999, 1.0, 1.0000001, 3.7, 1e4])
@pytest.mark.parametrize("seed", range(5))
def test_global_norm_is_torchs_within_4_ulp(norm: float, seed: int) -> None:
    torch = pytest.importorskip("torch")
    grads = gradients(norm, seed)
    params = [torch.nn.Parameter(torch.zeros(g.shape)) for g in grads]
    for param, grad in zip(params, grads, strict=True):
        param.grad = torch.tensor(grad)
    torch.nn.utils.clip_grad_norm_(params, 1.0)
    found = once(parse_policy("clip=global:1.0"), grads, "torch").grads
    assert max(ulps(f, p.grad.numpy()) for f, p in zip(found, params, strict=True)) <= 4


@pytest.mark.parametrize("norm", [0.3, 0.9999999, 1.0, 1.0000001, 3.7, 1e4])
def test_global_norm_without_epsilon_is_optax_and_keras_within_4_ulp(norm: float) -> None:
    optax = pytest.importorskip("optax")
    grads = gradients(norm)
    theirs, _ = optax.clip_by_global_norm(1.0).update(grads, optax.EmptyState())
    found = once(parse_policy("clip=global:1.0,epsilon=0"), grads, "jax").grads
    assert max(ulps(f, np.asarray(g)) for f, g in zip(found, theirs, strict=True)) <= 4
    tf = pytest.importorskip("tensorflow")
    theirs, _ = tf.clip_by_global_norm([tf.constant(g) for g in grads], 1.0)  # what Keras calls on TensorFlow
    found = once(parse_policy("clip=global:1.0,epsilon=0"), grads, "tensorflow").grads
    assert max(ulps(f, g.numpy()) for f, g in zip(found, theirs, strict=True)) <= 4


def test_value_is_torchs() -> None:
    torch = pytest.importorskip("torch")
    grads = gradients(5.0)
    params = [torch.nn.Parameter(torch.zeros(g.shape)) for g in grads]
    for param, grad in zip(params, grads, strict=True):
        param.grad = torch.tensor(grad)
    torch.nn.utils.clip_grad_value_(params, 0.5)
    for found, param in zip(once(parse_policy("clip=value:0.5"), grads, "torch").grads, params, strict=True):
        np.testing.assert_array_equal(found, param.grad.numpy())


def test_agc_is_optax_on_the_transposed_kernel() -> None:
    """Units are rows in PyTorch, columns in flax: the same net, clipped alike; untransposed it is another method."""
    optax, policy = pytest.importorskip("optax"), parse_policy("clip=agc:0.05")
    grads, own = gradients(3.0), weights()
    layout = Layout(unit_axes=(0, None, 0), heads=(False,) * 3)
    transposed = Layout(unit_axes=(-1, None, -1), heads=(False,) * 3)

    def theirs(these: Any, those: Any) -> list[np.ndarray[Any, Any]]:
        return [np.asarray(g) for g in optax.adaptive_grad_clip(0.05).update(these, None, those)[0]]

    def ours(these: Any, those: Any, on: Layout) -> list[np.ndarray[Any, Any]]:
        _, decision = policy.decide((), vitals_of(NUMPY, these, on, those), NUMPY.xp)
        return [back(g) for g in decision.grads or ()]

    kernels, kernel_weights = [g.T for g in grads], [w.T for w in own]
    for found, expected in zip(ours(grads, own, layout), theirs(kernels, kernel_weights), strict=True):
        np.testing.assert_allclose(found.T, expected, rtol=1e-6)
    for found, expected in zip(ours(kernels, kernel_weights, transposed), theirs(kernels, kernel_weights), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert not np.allclose(ours(grads, own, layout)[0], theirs(grads, own)[0], rtol=1e-3)


def test_normalised_sign_and_centralised_are_optax() -> None:
    optax, grads = pytest.importorskip("optax"), gradients(3.0)
    chain = {
        "gradient=normalised:2": optax.normalize_by_update_norm(scale_factor=2.0),
        "gradient=sign": optax.scale_by_sign(),
        "gradient=centralised": optax.centralize(),  # its unit axis is the first, as in LAYOUT
    }
    for text, transformation in chain.items():
        theirs, _ = transformation.update(grads, transformation.init(grads))
        for found, expected in zip(once(parse_policy(text), grads, "jax").grads, theirs, strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6, err_msg=text)


# Papers, in float64 and as slow as they come


def by_autoclip(norms: list[float], percentile: float) -> Iterator[float]:
    """Seetharaman et al. 2020, algorithm 1, and the clip of its authors' code."""
    for t in range(len(norms)):
        yield min(1.0, float(np.percentile(norms[: t + 1], percentile)) / (norms[t] + 1e-6))


def by_zclip(norms: list[float], threshold: float, alpha: float, warm_up: int) -> Iterator[float]:
    """Kumar et al. 2025, section 3: a list of the norms of the warm-up, then running moments."""
    first: list[float] = []
    mean = variance = 0.0
    for norm in norms:
        if len(first) < warm_up:
            first.append(norm)
            mean, variance = float(np.mean(first)), float(np.var(first))
            yield 1.0
            continue
        z = (norm - mean) / (math.sqrt(variance) + 1e-6)
        target = mean + threshold * math.sqrt(variance) / (z / threshold) if z > threshold else norm
        yield min(1.0, target / (norm + 1e-6)) if z > threshold else 1.0
        mean = alpha * mean + (1 - alpha) * target
        variance = alpha * variance + (1 - alpha) * (target - mean) ** 2


def by_adagc(
    norms: list[list[float]], ratio: float, beta: float, max_norm: float, warm_up: int
) -> Iterator[list[float]]:
    """Wang et al. 2025, algorithm 1, tensor by tensor."""
    gamma = [math.inf] * len(norms[0])
    for t, of_tensors in enumerate(norms):
        scales = []
        whole = math.sqrt(sum(n * n for n in of_tensors))
        for i, n in enumerate(of_tensors):
            scale = min(1.0, max_norm / whole) if t < warm_up else min(1.0, ratio * gamma[i] / n)
            gamma[i] = min(gamma[i], n * scale) if t < warm_up else beta * gamma[i] + (1 - beta) * n * scale
            scales.append(scale)
        yield scales


def by_spike(norms: list[float], threshold: float, window: int, patience: int) -> Iterator[bool]:
    accepted: list[float] = []
    on_end = 0
    for norm in norms:
        value, last = math.log(max(norm, 1e-30)), accepted[-window:]
        middle = float(np.median(last)) if last else 0.0
        mad = float(np.median(np.abs(np.array(last) - middle))) if last else 0.0
        z = (value - middle) / (max(0.3, 1.4826 * mad) * (1 + 2 / max(len(last), 1)))
        is_spike = bool(last) and z > threshold
        if is_spike and on_end >= patience:
            accepted, is_spike = [], False
        on_end = on_end + 1 if is_spike else 0
        accepted += [] if is_spike else [value]
        yield is_spike


def norms_of(walk: list[list[np.ndarray[Any, Any]]]) -> list[float]:
    return [norm_of(grads) for grads in walk]


SCALES: dict[str, Callable[[list[float]], Iterator[float]]] = {
    "clip=autoclip:10": lambda norms: by_autoclip(norms, 10),
    "clip=autoclip:35.5": lambda norms: by_autoclip(norms, 35.5),
    "clip=zclip:2.5": lambda norms: by_zclip(norms, 2.5, 0.97, 25),
    "clip=zclip:1.5,alpha=0.9,warm_up=5": lambda norms: by_zclip(norms, 1.5, 0.9, 5),
}


@pytest.mark.parametrize("text", SCALES)
def test_scales_are_those_of_the_paper(text: str) -> None:
    walk = finite_training()
    found = [float(o.scale) for o in walked(NUMPY, parse_policy(text), walk)[1]]
    assert min(found) < 0.9
    np.testing.assert_allclose(found, list(SCALES[text](norms_of(walk))), rtol=2e-5)


def test_adagc_is_that_of_the_paper() -> None:
    walk = finite_training()
    policy = parse_policy("clip=adagc:1.05,warm_up=20")
    found = [np.broadcast_to(o.scale, 3) for o in walked(NUMPY, policy, walk)[1]]
    expected = list(by_adagc([[norm_of([g]) for g in grads] for grads in walk], 1.05, 0.98, 1.0, 20))
    assert min(map(min, expected[20:])) < 0.1
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_adagc_survives_a_tensor_without_gradient() -> None:
    walk = finite_training()
    for place in (3, 40):
        walk[place][1] = np.zeros_like(walk[place][1])
    late = [[g * (i > 30 or j != 2) for j, g in enumerate(grads)] for i, grads in enumerate(walk)]
    policy = parse_policy("clip=adagc:1.05,warm_up=20")
    for each in (walk, late):
        assert all((np.broadcast_to(o.scale, 3) > 1e-7).all() for o in walked(NUMPY, policy, each)[1])


@pytest.mark.parametrize("settings", [(6.0, 50, 10), (4.0, 8, 2), (3.0, 5, 1)])
def test_spikes_are_those_of_the_slow_version(settings: tuple[float, int, int]) -> None:
    walk = finite_training()
    threshold, window, patience = settings
    policy = parse_policy(f"skip=spike:{threshold},window={window},patience={patience}")
    found = [o.skip for o in walked(NUMPY, policy, walk)[1]]
    assert any(found)
    assert found == list(by_spike(norms_of(walk), *settings))


def test_agc_by_rows() -> None:
    """Brock et al. 2021, equation 3, unit by unit; the head (the last tensor of LAYOUT) stays."""
    grads, own = gradients(3.0), weights()
    found = once(parse_policy("clip=agc:0.05"), grads).grads
    for g, w, ours in zip(grads[0], own[0], found[0], strict=True):
        most = 0.05 * max(norm_of([w]), 1e-3)
        np.testing.assert_allclose(ours, g * min(1.0, most / norm_of([g])), rtol=1e-5)
    most = 0.05 * max(norm_of([own[1]]), 1e-3)
    np.testing.assert_allclose(found[1], grads[1] * min(1.0, most / norm_of([grads[1]])), rtol=1e-5)
    np.testing.assert_array_equal(found[2], grads[2])


def test_agc_and_centralised_take_all_axes_of_a_convolution_but_the_units() -> None:
    random = np.random.default_rng(0)
    kernel = [random.normal(size=(3, 3, 4, 5)).astype(np.float32)]
    of_flax = Layout(unit_axes=(-1,), heads=(False,))
    centred = once(parse_policy("gradient=centralised"), kernel, layout=of_flax).grads[0]
    np.testing.assert_allclose(centred, kernel[0] - kernel[0].mean((0, 1, 2), dtype=np.float64), atol=1e-6)
    _, decision = parse_policy("clip=agc").decide((), vitals_of(NUMPY, kernel, of_flax, kernel), NUMPY.xp)
    assert decision.grads is not None
    ratios = [norm_of([decision.grads[0][..., u]]) / norm_of([kernel[0][..., u]]) for u in range(5)]
    np.testing.assert_allclose(ratios, 0.01, rtol=1e-5)


def test_tensor_norm_is_keras_clipnorm_but_for_epsilon() -> None:
    keras_like = [g * min(1.0, 0.5 / norm_of([g])) for g in gradients(3.0)]
    for found, expected in zip(
        once(parse_policy("clip=tensor:0.5,epsilon=0"), gradients(3.0)).grads, keras_like, strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_a_composition_is_one_after_the_other() -> None:
    """Each policy alone, on gradients that were really changed by those before it."""
    texts = ("clip=zclip:1.5,warm_up=5", "clip=tensor:0.4", "clip=value:0.1", "clip=global:0.3")
    walk = finite_training()
    found = [o.grads for o in walked(NUMPY, compose(*map(parse_policy, texts)), walk)[1]]
    by_hand = walk
    for text in texts:
        by_hand = [o.grads for o in walked(NUMPY, parse_policy(text), by_hand)[1]]
    for ours, theirs in zip(found, by_hand, strict=True):
        for g, h in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(g, h, rtol=1e-5, atol=1e-8)
    assert len(SHAPES) == len(found[0])
