"""`trimtab.optax.guard`: the same updates, with the vitals in its state."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

jax = pytest.importorskip("jax")
optax = pytest.importorskip("optax")

import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
from tests.frameworks.optax import _nets  # noqa: E402

import trimtab.optax  # noqa: E402
from trimtab import TrimtabError  # noqa: E402


@pytest.mark.parametrize("how", ["jit", "eager", "scan"])
def test_updates_are_those_of_the_inner_transformation(how: str) -> None:
    assert _nets.same(_nets.train(optax.adam(1e-2), how), _nets.train(trimtab.optax.guard(optax.adam(1e-2)), how))


def test_its_state_has_the_norms(session: Any) -> None:
    tx = trimtab.optax.guard(optax.chain(optax.clip(1.0), optax.sgd(0.1)))
    params = _nets.initial()
    state = tx.init(params)
    assert (float(state.grad_norm), int(state.nonfinite)) == (0, 0)
    gradients = jax.grad(_nets.loss_of)(params, _nets.X[0], _nets.Y[0])
    _, state = jax.jit(tx.update)(gradients, state, params)
    expected = _nets.numpy_gradients(params, _nets.X[0], _nets.Y[0])
    for name, gradient in expected.items():
        layer, which = name.split("/")
        assert float(state.grad_norms[layer][which]) == pytest.approx(np.linalg.norm(gradient), rel=1e-5)
    total = np.sqrt(sum((g**2).sum() for g in expected.values()))
    assert float(state.grad_norm) == pytest.approx(total, rel=1e-5)
    session.finish()
    (row,) = session.table("steps")  # watched too: once
    assert row["lr"] == pytest.approx(0.1)


def test_non_finite_tensors_are_counted() -> None:
    tx = trimtab.optax.guard(optax.sgd(0.1))
    params = {"a": jnp.ones(2), "b": jnp.ones(2)}
    _, state = tx.update({"a": jnp.array([1.0, np.nan]), "b": jnp.full(2, 1e30)}, tx.init(params))
    assert int(state.nonfinite) == 1
    assert float(state.grad_norms["b"]) == pytest.approx(np.sqrt(2) * 1e30)


def test_what_is_refused() -> None:
    with pytest.raises(TrimtabError, match=r"needs an optax\.GradientTransformation.*got 'adam'"):
        trimtab.optax.guard("adam")


def test_importing_trimtab_imports_no_jax() -> None:
    code = "import sys, trimtab; print(sorted({'jax', 'optax', 'numpy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
