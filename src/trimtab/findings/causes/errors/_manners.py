"""Scripts that do in one framework what belongs to another."""

from __future__ import annotations

from ...._language import t
from ._known_error import KnownError
from ._spellings import OTHER

# The first row that matches counts.
ROWS: tuple[KnownError, ...] = (
    KnownError(
        OTHER,
        "AttributeError",
        r"'[\w.]*(?:EagerTensor|SymbolicTensor|\bTensor)' object has no attribute 'backward'",
        lambda g: t("`backward` is PyTorch's; this loss is a tensor of TensorFlow"),
        tries=(
            "with tf.GradientTape() as tape: loss = loss_function(y, model(x, training=True))",
            "optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)",
        ),
    ),
    KnownError(
        OTHER,
        "AttributeError",
        r"(?:'[\w.]*ArrayImpl' object|Tracer'?(?: object)?) has no attribute '?backward\b",
        lambda g: t("`backward` is PyTorch's; this loss is an array of JAX"),
        tries=("loss, gradients = jax.value_and_grad(loss_function)(parameters)",),
    ),
    KnownError(
        OTHER,
        "TypeError",
        r"^\w+\.__init__\(\) got an unexpected keyword argument '(?P<old>learning_rate)'",
        lambda g: t("an optimizer of PyTorch calls it `lr`"),
        line=r"\b(?:optim|torch)\b|\.parameters\(\)",
        turn=r"\blearning_rate(?=\s*=)",
        into="lr",
        tries=("torch.optim.Adam(model.parameters(), lr=0.001)",),
    ),
    KnownError(
        OTHER,
        "TypeError",
        r"^\w+\(\) got an unexpected keyword argument '(?P<old>lr)'",
        lambda g: t("an optimizer of optax calls it `learning_rate`"),
        line=r"\boptax\b",
        turn=r"\blr(?=\s*=)",
        into="learning_rate",
        tries=("optax.adam(learning_rate=0.001)",),
    ),
    KnownError(
        OTHER,
        "TypeError",
        r"^JAX arrays are immutable",
        lambda g: t("an array of JAX is never changed in place"),
        turn=r"^(\s*)([A-Za-z_][\w.]*)\[([^\]]+)\]\s*=\s*([^=\n].*)$",
        into=r"\1\2 = \2.at[\3].set(\4)",
        tries=("x = x.at[index].set(y)",),
    ),
    KnownError(
        OTHER,
        "TypeError",
        r"must be Tensor, not numpy\.ndarray$",
        lambda g: t("a PyTorch module was given an array of NumPy"),
        tries=("torch.as_tensor(x, dtype=torch.float32)",),
    ),
)
