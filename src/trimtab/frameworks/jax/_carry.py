"""Arrays that go from one step to the next beside the script's own: into a jitted function and out of it again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ._scope import innermost
from ._trace import is_outside


class Carry:
    """Pytrees by number. There is a place for them outside of every trace, and in that of a jitted function itself;
    not in loops, branches and vmap inside of it, nor in what is differentiated."""

    def __init__(self) -> None:
        self._kept: dict[int, Any] = {}

    def has_place(self) -> bool:
        scope = innermost()
        return is_outside() if scope is None else scope.carry is not None

    def get(self, number: int) -> Any:
        """As it is here and now; None where it has not begun. Only where there is a place."""
        scope = innermost()
        return (self._kept if scope is None else {**(scope.carry or {}), **scope.carried}).get(number)

    def put(self, number: int, tree: Any) -> None:
        """Only where there is a place."""
        scope = innermost()
        (self._kept if scope is None else scope.carried)[number] = tree

    def given(self, numbers: Iterable[int]) -> dict[int, Any]:
        """What a call of a jitted function from here is to be given of these."""
        if not self.has_place():
            return {}
        return {number: tree for number in numbers if (tree := self.get(number)) is not None}

    def returned(self, trees: Mapping[int, Any]) -> None:
        """What such a call has returned."""
        if self.has_place():
            for number, tree in trees.items():
                self.put(number, tree)
