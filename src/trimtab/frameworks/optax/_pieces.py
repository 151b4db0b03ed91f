"""What an optax transformation is made of: read from the functions that it closed over, since it keeps nothing else."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import jax

MAX_DEPTH = 12

CLIPS = ("clip", "clip_by_global_norm", "clip_by_block_rms", "adaptive_grad_clip")
_RATE = ("scale", "scale_by_learning_rate")
_NO_OPTIMIZER = frozenset(
    (
        "clip",
        "clip_by_global_norm",
        "clip_by_block_rms",
        "adaptive_grad_clip",
        "zero_nans",
        "ema",
        "keep_params_nonnegative",
    )
)
_NOT_NORMALISING = ("scale_by_trust_ratio", "scale_by_param_block_norm", "scale_by_param_block_rms")
_NAMES = {
    "scale_by_rms": "rmsprop",
    "scale_by_stddev": "rmsprop",
    "scale_by_rss": "adagrad",
    "scale_by_belief": "adabelief",
    "scale_by_factored_rms": "adafactor",
    "scale_by_sign": "sign_sgd",
}
_SETTINGS = ("eps", "eps_root", "nesterov", "weight_decay", "max_norm", "every_k", "max_consecutive_errors")


@dataclass(frozen=True)
class Piece:
    """One transformation: the name of the function that made it, and what it has closed over."""

    name: str
    held: Mapping[str, Any]


PART = Piece("part", {})


def pieces_of(function: Any) -> list[Piece]:
    """The transformations of an update function, in the order in which they are applied."""
    return list(_walk(function, 0, set()))


def is_optimizer(pieces: list[Piece]) -> bool:
    """False for what by itself is a clip or an average."""
    return any(piece.name not in _NO_OPTIMIZER for piece in pieces)


def class_of(pieces: list[Piece]) -> str:
    """As the function of optax that makes it: optax.adamw; optax.chain where it is none that is known."""
    names = [piece.name for piece in pieces]
    for i, name in enumerate(names):
        if name == "scale_by_adam":
            held = pieces[i].held
            decays = "add_decayed_weights" in names[i:] and not _is_zero(pieces[names.index("add_decayed_weights")])
            return f"optax.{'n' if held.get('nesterov') else ''}adam{'w' if decays else ''}"
        if name in _NAMES:
            return f"optax.{_NAMES[name]}"
        if name.startswith("scale_by_") and name not in ("scale_by_schedule", "scale_by_learning_rate"):
            return f"optax.{name.removeprefix('scale_by_')}"
        if "inner_factory" in pieces[i].held:
            return f"optax.{name}"
    if {"trace", "scale", "scale_by_schedule"} & set(names):
        return "optax.sgd"
    return "optax.chain" if len(names) > 1 or not names else f"optax.{names[0]}"


def settings_of(pieces: list[Piece]) -> dict[str, Any]:
    """As a PyTorch optimizer's first group has them, where they are plain numbers."""
    found: dict[str, Any] = {}
    for piece in pieces:
        held = {**piece.held, **(piece.held.get("numeric_hps") or {})}
        found |= {name: held[name] for name in _SETTINGS if name in held and _is_plain(held[name])}
        if _is_plain(held.get("b1")) and _is_plain(held.get("b2")):
            found["betas"] = [float(held["b1"]), float(held["b2"])]
        if piece.name == "trace" and _is_plain(held.get("decay")):
            found["momentum"] = float(held["decay"])
    found = {name: value if isinstance(value, (bool, list)) else float(value) for name, value in found.items()}
    return found | {"pieces": [piece.name for piece in pieces if piece is not PART]}


def learning_rates(pieces: list[Piece], state: Any, new_state: Any) -> list[Any]:
    """The step's learning rate in every part of a partition, or the one: numbers or traced; empty if not known.

    From injected hyperparameters, the product of the scales behind the last normalising piece with a schedule's count
    as the state has it before the step, or what a line search has found.
    """
    for injected in _having(new_state, "hyperparams"):
        if "learning_rate" in injected.hyperparams:
            return [injected.hyperparams["learning_rate"]]
    for searched in _having(new_state, "learning_rate"):
        return [searched.learning_rate]
    return _products_of_scales(pieces, _having(state, "count"))


def _products_of_scales(pieces: list[Piece], counting: list[Any]) -> list[Any]:
    counts = [each.count for each in counting if type(each).__name__ == "ScaleByScheduleState"]
    if len(counts) != sum(piece.name == "scale_by_schedule" for piece in pieces):
        return []
    products: list[Any] = []
    product: Any = None
    for piece in [*pieces, PART]:
        if piece.name == "scale":
            product = _times(product, piece.held.get("step_size", 1.0))
        elif piece.name == "scale_by_schedule":
            product = _times(product, piece.held["step_size_fn"](counts.pop(0)))
        elif piece is PART:
            products += [] if product is None else [abs(product)]
            product = None
        elif piece.name.startswith(("scale_by_", "normalize_by_")) and piece.name not in _NOT_NORMALISING:
            product = None
    return products


def _times(product: Any, factor: Any) -> Any:
    return factor if product is None else product * factor


def second_moments(state: Any) -> Any:
    """The state of the one Adam in it, with `nu` and `count`; None where there is none, or several."""
    adams = [each for each in _having(state, "nu") if hasattr(each, "mu") and hasattr(each, "count")]
    return adams[0] if len(adams) == 1 else None


def second_decay(pieces: list[Piece]) -> float | None:
    """Adam's b2, where it is a plain number."""
    found: list[Any] = [piece.held.get("b2") for piece in pieces if piece.name == "scale_by_adam"]
    return float(found[0]) if len(found) == 1 and _is_plain(found[0]) else None


def _having(tree: Any, attribute: str) -> list[Any]:
    """Those nodes of a state that have `attribute`, in the order of JAX."""

    def has(node: Any) -> bool:
        return attribute in getattr(type(node), "_fields", ())

    found: list[Any] = []

    def look(node: Any) -> None:
        for leaf in jax.tree_util.tree_leaves(node, is_leaf=lambda each: each is not node and _is_named(each)):
            if _is_named(leaf):
                if has(leaf):
                    found.append(leaf)
                look(leaf)

    look((tree,))
    return found


def _is_named(node: Any) -> bool:
    return isinstance(node, tuple) and hasattr(type(node), "_fields")


def _walk(function: Any, depth: int, seen: set[int]) -> Iterator[Piece]:
    while isinstance(function, functools.partial):
        function = function.func
    if depth > MAX_DEPTH or id(function) in seen:
        return
    seen = seen | {id(function)}
    function = owner(function)
    if hasattr(function, "inner_opt"):
        yield Piece(type(function).__name__, {})
        yield from _walk(function.inner_opt[1], depth + 1, seen)
        return
    own, name = held(function), maker(function)
    if "inner_factory" in own:
        name = getattr(own["inner_factory"], "__name__", name)
    inner = [] if name in _RATE else [each for value in own.values() for each in _transformations(value)]
    if not inner or name not in ("chain", "named_chain", "with_extra_args_support"):
        yield Piece(name, own)
    for each in inner:
        if name == "partition":
            yield PART
        yield from _walk(each, depth + 1, seen)


def owner(function: Any) -> Any:
    """What stays one object for as long as the transformation lives: of a method of `MultiSteps` that object."""
    bound = getattr(function, "__self__", None)
    return bound if hasattr(bound, "inner_opt") else function


def maker(function: Any) -> str:
    """The name of the function that made this one."""
    return str(getattr(function, "__qualname__", type(function).__name__)).partition(".<locals>")[0]


def held(function: Any) -> dict[str, Any]:
    """What a function has closed over."""
    function = inspect.unwrap(function)
    code, cells = getattr(function, "__code__", None), getattr(function, "__closure__", None) or ()
    if code is None:
        return {}
    return {name: cell.cell_contents for name, cell in zip(code.co_freevars, cells, strict=True) if _is_filled(cell)}


def _is_filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not cell
    except ValueError:
        return False


def _transformations(value: Any) -> list[Any]:
    """The update functions that a held value is or holds."""
    if isinstance(value, tuple) and hasattr(type(value), "_fields"):
        return [value[1]] if getattr(type(value), "_fields", ()) == ("init", "update") else []
    if isinstance(value, Mapping):
        return [each for item in value.values() for each in _transformations(item)]
    if isinstance(value, (tuple, list)):
        every = [each for item in value for each in _transformations(item)]
        return every or [item for item in value if getattr(item, "__name__", "").startswith("update")]
    return []


def _is_plain(value: Any) -> bool:
    return isinstance(value, (bool, int, float))


def _is_zero(piece: Piece) -> bool:
    decay = piece.held.get("weight_decay")
    return _is_plain(decay) and not decay
