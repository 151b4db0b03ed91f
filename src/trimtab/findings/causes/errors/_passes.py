"""Forward and backward passes that ask for what is not there yet, or not any more."""

from __future__ import annotations

from ...._language import t
from ._fits import GRAPH, TRACED
from ._known_error import KnownError

# The first row that matches counts.
ROWS: tuple[KnownError, ...] = (
    # Not yet
    KnownError(
        TRACED,
        "TracerBoolConversionError",
        r"^Attempted boolean conversion of traced array",
        lambda g: t("a condition on values that are known only when the compiled function runs"),
        tries=("jnp.where(condition, a, b)", "jax.lax.cond(condition, f, g, x)"),
    ),
    KnownError(
        TRACED,
        "OperatorNotAllowedInGraphError",
        r"^Using a symbolic `tf\.Tensor` as a Python `bool`",
        lambda g: t("a condition on values that are known only when the compiled function runs"),
        tries=("tf.where(condition, a, b)", "tf.cond(condition, f, g)"),
    ),
    KnownError(
        TRACED,
        "ConcretizationTypeError|TracerArrayConversionError",
        r"traced array",
        lambda g: t("a value was asked for that is known only when the compiled function runs"),
        tries=('jax.debug.print("{x}", x=x)',),
    ),
    KnownError(
        TRACED,
        "AttributeError",
        r"'(?:SymbolicTensor|Tensor)' object has no attribute 'numpy'",
        lambda g: t("a value was asked for that is known only when the compiled function runs"),
        tries=("tf.print(x)",),
    ),
    KnownError(
        TRACED,
        "TypeError",
        r"^Shapes must be 1D sequences of concrete values",
        lambda g: t("a shape that is known only when the compiled function runs"),
        tries=("jax.jit(f, static_argnums=0)",),
    ),
    # Not any more
    KnownError(
        GRAPH,
        "RuntimeError",
        r"modified by an inplace operation: .*which is output \d+ of (?P<op>AsStrided|T|Transpose)\w*,",
        lambda g: t("a weight was changed (by optimizer.step()?) between the forward pass and this backward pass"),
        tries=("loss.backward(); optimizer.step()  # in this order, after a new forward pass",),
    ),
    KnownError(
        GRAPH,
        "RuntimeError",
        r"modified by an inplace operation: .*which is output \d+ of (?P<op>\w+?)(?:Backward\d*)?,",
        lambda g: t("the output of {op} was changed in place, and its gradient needs it as it was", op=g["op"]),
        tries=("y = y + 1  # in place of y += 1", "nn.ReLU()  # in place of nn.ReLU(inplace=True)"),
    ),
    KnownError(
        GRAPH,
        "RuntimeError",
        r"^Trying to backward through the graph a second time",
        lambda g: t(
            "the graph of this loss was used up by an earlier backward pass: something in it is left from "
            "the step before"
        ),
        tries=("hidden = hidden.detach()",),
    ),
    KnownError(
        GRAPH,
        "RuntimeError",
        r"^a leaf Variable that requires grad is being used in an in-place operation",
        lambda g: t("a weight is changed in place while gradients are followed"),
        tries=("with torch.no_grad(): ...",),
    ),
)
