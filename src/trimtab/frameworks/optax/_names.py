"""Readable names of the leaves of a pytree of parameters: params/Dense_0/kernel."""

from __future__ import annotations

from typing import Any

import jax

# nnx keeps an array in a Variable, of which these are the fields.
_INNER = ("value", "raw_value")


def named_leaves(tree: Any) -> tuple[list[str], list[Any]]:
    """The arrays of `tree` and their names, in the order of JAX."""
    pairs = jax.tree_util.tree_leaves_with_path(tree)
    return [_name(path) for path, _ in pairs], [leaf for _, leaf in pairs]


def _name(path: tuple[Any, ...]) -> str:
    parts = [_part(key) for key in path]
    while len(parts) > 1 and parts[-1] in _INNER:
        parts.pop()
    return "/".join(parts) or "params"


def _part(key: Any) -> str:
    for attribute in ("key", "name", "idx"):
        if hasattr(key, attribute):
            return str(getattr(key, attribute))
    return str(key)
