"""What the modules' rows of a step say of a layer's units, whether its activation is a module or a function."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ._history import Columns


def by_layer(
    rows: Columns, out_column: str, in_column: str, counts: Callable[[str], bool], *, with_output: bool
) -> dict[str, float]:
    """A share of each layer's units, by the name of the weighted module that the activation follows.

    Read at the output of an activation module whose class `counts`, else at the input of the next weighted module,
    where autograd says that it has passed an activation: what is no activation's output (data, pixels that never
    light up) is not seen. Of several calls the least share stands, since a unit is dead only if it is so at each.
    `with_output`: what follows the last weighted module counts too.
    """
    if not {out_column, in_column, "in_after"} <= set(rows):
        return {}
    found: dict[str, float] = {}
    last = max((int(call) for call, own in zip(rows["call"], rows["weighted"], strict=True) if own), default=-1)
    producer, read = "", False
    for i in np.argsort(rows["call"], kind="stable"):
        name = str(rows["module"][i])
        if rows["weighted"][i]:
            if not read and rows["in_after"][i] not in (None, "", "none"):
                _least(found, producer or name, float(rows[in_column][i]))
            producer, read = name, False
        elif counts(str(rows["kind"][i])) and (with_output or rows["call"][i] < last):
            _least(found, producer or name, float(rows[out_column][i]))
            read = True
    return found


def _least(found: dict[str, float], layer: str, share: float) -> None:
    if np.isfinite(share):
        found[layer] = min(share, found.get(layer, share))
