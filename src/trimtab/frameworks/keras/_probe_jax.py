"""JAX: the pass as a jaxpr, and the loss's gradient by each output as that by zeros which are added to it."""

from __future__ import annotations

import itertools
from collections.abc import Hashable
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Literal

from ..jax._trace import current
from ._probe_graph import CHANGE, JOIN, MOVE, OTHER, PRODUCT, SUM, Graph, Node
from ._probe_kinds import activation_name
from ._probe_pass import Forward, Found, Given, NotRepeatableError, keyed

_MOVES = """
    reshape transpose broadcast_in_dim squeeze expand_dims slice dynamic_slice convert_element_type copy copy_p rev
    stop_gradient gather split optimization_barrier
"""
_CHANGES = """
    mul div neg reduce_sum reduce_max reduce_min reduce_window_max reduce_window_sum reduce_window cumsum pad select_n
"""
_KINDS = {
    **dict.fromkeys(("dot_general", "conv_general_dilated"), PRODUCT),
    **dict.fromkeys(("add", "sub", "add_any", "scatter-add"), SUM),
    **dict.fromkeys(_MOVES.split(), MOVE),
    **dict.fromkeys(_CHANGES.split(), CHANGE),
    "concatenate": JOIN,
    "logistic": "sigmoid",
    "tanh": "tanh",
}
_CALLS = ("jit", "pjit", "closed_call", "core_call", "custom_jvp_call", "custom_vjp_call", "custom_vjp_call_jaxpr")


class JaxPass:
    def __init__(self, forward: Forward, given: Given) -> None:
        self._forward: Any = forward
        #: Of each shown call the shape and dtype of its output.
        self._forms: dict[int, tuple[Any, Any]] = {}
        self._has_loss = False
        self.found = self._trace(given)
        self._compiled: Any = None

    def compile(self, given: Given) -> None:
        """Ahead of time: so that to run it is no call of a jitted function, which might be a step."""
        self._compiled = jax.jit(self._with_gradients).lower(given).compile()
        self._forward = None  # it holds the model

    def run(self, given: Given) -> Any:
        return jax.device_get(self._compiled(given))

    def _trace(self, given: Given) -> Found:
        """What the pass calls; it is not run."""
        seen: list[Any] = []

        def traced(given: Given) -> Any:
            loss, calls = self._forward(given, current)
            self._has_loss = loss is not None
            seen[:] = calls, keyed(calls)
            return seen[1]

        jaxpr = jax.make_jaxpr(traced)(given).jaxpr
        if jaxpr.effects:
            raise NotRepeatableError("its forward pass has effects outside of itself")
        calls, tensors = seen
        flat = _Flat(jaxpr)
        keys = {id(tensor): flat.key(var) for tensor, var in zip(tensors, jaxpr.outvars, strict=True)}
        parameters = frozenset(flat.key(var) for var in jaxpr.invars[: self._forward.trainable])
        found = Found.of(calls, Graph(flat.nodes, parameters), lambda tensor: keys[id(tensor)])
        for call in found.calls:
            y = calls.calls[call.number].y
            self._forms[call.number] = y.shape, y.dtype
        return found

    def _with_gradients(self, given: Given) -> Any:
        zeros = {number: jnp.zeros(*form) for number, form in self._forms.items()}
        if not self._has_loss:
            return self._loss(zeros, given)[1], None
        loss, pull_back, tensors = jax.vjp(lambda zeros: self._loss(zeros, given), zeros, has_aux=True)
        (gradients,) = pull_back(jnp.ones_like(loss))
        return tensors, [gradients[number] for number in zeros]

    def _loss(self, zeros: dict[int, Any], given: Given) -> Any:
        loss, calls = self._forward(given, current, lambda number, y: y + zeros[number] if number in zeros else y)
        return loss, self.found.tensors(calls)


class _Flat:
    """A jaxpr's variables as numbers, and what made them, with the functions that it calls opened up."""

    def __init__(self, jaxpr: Any) -> None:
        self.nodes: dict[Hashable, Node] = {}
        self._numbers = itertools.count()
        self._keys: dict[Any, Hashable] = {}
        self._walk(jaxpr, self._keys)

    def key(self, var: Any) -> Hashable:
        return self._key(var, self._keys)

    def _key(self, var: Any, keys: dict[Any, Hashable]) -> Hashable:
        if isinstance(var, Literal):
            return ("literal", id(var))
        if var not in keys:
            keys[var] = next(self._numbers)
        return keys[var]

    def _walk(self, jaxpr: Any, keys: dict[Any, Hashable]) -> None:
        for eqn in jaxpr.eqns:
            inputs = [self._key(var, keys) for var in eqn.invars]
            inner = eqn.params.get("jaxpr", eqn.params.get("call_jaxpr"))
            kind = _kind(eqn)
            if kind == OTHER and inner is not None and eqn.primitive.name in _CALLS:
                made = self._open(getattr(inner, "jaxpr", inner), inputs)
            else:
                made = [Node(kind, inputs)] * len(eqn.outvars)
            self.nodes.update(zip((self._key(var, keys) for var in eqn.outvars), made, strict=True))

    def _open(self, jaxpr: Any, inputs: list[Hashable]) -> list[Node]:
        keys = dict(zip(jaxpr.invars, inputs, strict=True))
        self._walk(jaxpr, keys)
        return [Node(MOVE, [self._key(var, keys)]) for var in jaxpr.outvars]


def _kind(eqn: Any) -> str:
    name = str(eqn.primitive.name)
    if name in _CALLS:
        function = str(eqn.params.get("name", ""))
        return activation_name(type("Named", (), {"__name__": function})) or OTHER
    if name == "max" and any(isinstance(var, Literal) and not var.val for var in eqn.invars):
        return "relu"
    return _KINDS.get(name, OTHER)
