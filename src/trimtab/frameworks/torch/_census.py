"""What an optimizer's models are made of: kinds of module, dropout, and parameters that no optimizer has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container
from typing import Any
from weakref import ref

from torch.nn import Module
from torch.nn.modules.dropout import _DropoutNd

from ._names import Naming


class Untrained:
    """Parameters of `naming`'s models that want gradients and are in no optimizer of this process, as far as is known:
    whoever knows of optimizers must tell. Parameters are referred to weakly.
    """

    def __init__(self, naming: Naming) -> None:
        self._left = [(ref(p), name) for p, name in naming.parameters() if p.requires_grad]

    def leave_out(self, trained: Container[int]) -> None:
        """Those with these ids are, or were, in an optimizer."""
        self._left = [(r, name) for r, name in self._left if (p := r()) is not None and id(p) not in trained]

    @property
    def names(self) -> list[str]:
        return [name for _, name in self._left]


def census(naming: Naming) -> dict[str, Any]:
    """`modules`: how many leaf modules of each class; `dropout`: p of each dropout module that is in training mode."""
    alive = [root for r in naming.roots if (root := r()) is not None]
    modules = list({id(module): module for root in alive for module in root.modules()}.values())
    return {
        "modules": dict(Counter(type(module).__name__ for module in modules if _is_leaf(module))),
        "dropout": [float(module.p) for module in modules if isinstance(module, _DropoutNd) and module.training],
    }


def _is_leaf(module: Module) -> bool:
    return not any(child is not None for child in module.__dict__.get("_modules", {}).values())
