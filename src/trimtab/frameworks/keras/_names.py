"""What variables and layers are called: their Keras path, without the name of the model that all of them are in."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Sequence
from typing import Any


def path_of(variable: Any) -> str:
    """A Keras variable's path, or a `tf.Variable`'s name."""
    return str(getattr(variable, "path", None) or getattr(variable, "name", "variable")).partition(":")[0]


def variable_names(variables: Iterable[Any], roots: Sequence[Any]) -> list[str]:
    """Names of `variables`, unique."""
    return _unique([_short(path_of(variable), roots) for variable in variables])


def layer_names(roots: Sequence[Any]) -> dict[int, str]:
    """Names of all layers under `roots` by id."""
    return {
        id(layer): _short(str(getattr(layer, "path", None) or layer.name), roots)
        for root in roots
        for layer in root._flatten_layers(include_self=True)
    }


def roots_of(variables: Sequence[Any], layer_class: type) -> list[Any]:
    """The outermost living layers (models, as a rule) that hold any of `variables`, in order of the variables.

    They are found among the garbage collector's objects: that sees models which were never compiled.
    """
    layers = [o for o in gc.get_objects() if isinstance(type(o), type) and issubclass(type(o), layer_class)]
    inner = {id(child) for layer in layers for child in _children(layer)}
    place = {id(variable): i for i, variable in reversed(list(enumerate(variables)))}
    ranked = []
    for layer in layers:
        if id(layer) not in inner:
            first = min((place[id(v)] for v in layer.variables if id(v) in place), default=None)
            if first is not None:
                ranked.append((first, -len(layer.variables), layer))
    ranked.sort(key=lambda entry: entry[:2])
    return _without_twins([layer for _, _, layer in ranked], place)


def _without_twins(roots: list[Any], place: dict[int, int]) -> list[Any]:
    """Drop a root all of whose variables earlier roots hold: another model over the same layers."""
    named: set[int] = set()
    kept = []
    for root in roots:
        ids = {id(v) for v in root.variables if id(v) in place}
        if not ids <= named:
            kept.append(root)
            named |= ids
    return kept


def _children(layer: Any) -> list[Any]:
    inside = (*vars(layer).get("_layers", ()), getattr(layer, "_functional", None))
    return [child for child in inside if child is not None]  # the last: a Sequential's other face


def _short(path: str, roots: Sequence[Any]) -> str:
    if len(roots) == 1 and path.startswith(f"{roots[0].name}/") and _leads_everywhere(roots[0]):
        return path[len(roots[0].name) + 1 :]
    return path


def _leads_everywhere(root: Any) -> bool:
    """The root's name is in front of every path under it: so it is in a Sequential and in a class of the user's own,
    not in a functional model."""
    return all(path_of(v).startswith(f"{root.name}/") for v in root.trainable_variables)


def _unique(names: list[str]) -> list[str]:
    seen: dict[str, int] = {}
    unique = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        unique.append(name if seen[name] == 1 else f"{name}~{seen[name]}")
    return unique
