"""How each framework spells what a remedy names."""

from __future__ import annotations

from trimtab.findings import Track

TORCH = {
    "clip": "clip_grad_norm_",
    "init=he": "nn.init.kaiming_normal_",
    "init=xavier": "nn.init.xavier_normal_",
    "init=orthogonal": "nn.init.orthogonal_",
    "norm=layer": "nn.LayerNorm",
    "norm=batch": "nn.BatchNorm",
    "loss=cross_entropy": "nn.CrossEntropyLoss",
    "loss=bce_logits": "nn.BCEWithLogitsLoss",
}
KERAS = {
    "clip": "global_clipnorm",
    "init=he": 'kernel_initializer="he_normal"',
    "init=xavier": 'kernel_initializer="glorot_normal"',
    "init=orthogonal": 'kernel_initializer="orthogonal"',
    "norm=layer": "LayerNormalization",
    "norm=batch": "BatchNormalization",
    "loss=cross_entropy": "CategoricalCrossentropy(from_logits=True)",
    "loss=bce_logits": "BinaryCrossentropy(from_logits=True)",
}
OPTAX = {
    "clip": "optax.clip_by_global_norm",
    "init=he": "jax.nn.initializers.he_normal()",
    "init=xavier": "jax.nn.initializers.glorot_normal()",
    "init=orthogonal": "jax.nn.initializers.orthogonal()",
    "norm=layer": "LayerNorm",
    "norm=batch": "BatchNorm",
    "loss=cross_entropy": "optax.softmax_cross_entropy",
    "loss=bce_logits": "optax.sigmoid_binary_cross_entropy",
}


def spelling(track: Track | None) -> dict[str, str]:
    """The names in the framework to which the optimizer of `track` belongs."""
    kind = str(track.series.info.get("class", "")) if track else ""
    if "keras" in kind.split(".")[0]:
        return KERAS
    return OPTAX if kind.startswith("optax") else TORCH
