"""Text that folds by the width of its characters: between words, and between Chinese characters."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.cells import cell_len, chop_cells
from rich.measure import Measurement

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions
    from rich.text import Text

WIDE = "\u2e80-\u303f\u3040-\u9fff\uf900-\ufaff\uff00-\uff60"
NO_START = "，。；：！？、）》」』”’％.,;:!?)"  # no line begins with these
NO_END = "（《「『“‘("  # and none ends with these
BREAK = re.compile(
    rf"(?<=\s)(?=\S)|(?<![{re.escape(NO_END)}\s])(?![{re.escape(NO_START)}\s])(?:(?<=[{WIDE}])|(?=[{WIDE}]))"
)


class Folded:
    """A renderable: one styled text, folded to the width that it gets, its later lines indented by `hang`."""

    def __init__(self, text: Text, hang: int = 0) -> None:
        self.text = text
        self.hang = hang

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        hang = self.hang if self.hang <= options.max_width // 2 else 0
        for i, piece in enumerate(self.text.divide(breaks(self.text.plain, options.max_width, hang))):
            piece.rstrip()
            piece.pad_left(hang if i else 0)
            yield piece

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(min(2, options.max_width), min(cell_len(self.text.plain), options.max_width))


def breaks(text: str, width: int, hang: int = 0) -> list[int]:
    """Where to divide `text` so that no line is wider than `width` cells, trailing blanks left out and an indent of
    `hang` cells before each line but the first included.

    >>> breaks("the loss stays", 8)
    [9]
    >>> breaks("损失保持不变。", 8)
    [4]
    """
    found: list[int] = []
    begin = filled = 0
    room = width
    for word in _words(text):
        for piece in _pieces(word, width - hang):
            if filled and filled + cell_len(piece.rstrip()) > room:
                found.append(begin)
                filled, room = 0, width - hang
            begin += len(piece)
            filled += cell_len(piece)
    return found


def divided(text: str, width: int) -> list[str]:
    """The lines of `text`, none wider than `width` cells."""
    ends = [0, *breaks(text, width), len(text)]
    return [text[a:b].rstrip() for a, b in itertools.pairwise(ends)]


def _words(text: str) -> list[str]:
    """Pieces of the text that a line may end after; together they are the text."""
    ends = [0, *(match.start() for match in BREAK.finditer(text)), len(text)]
    return [text[a:b] for a, b in itertools.pairwise(ends) if b > a]


def _pieces(word: str, width: int) -> list[str]:
    """The word, in pieces where it alone is wider than a line."""
    return [word] if cell_len(word.rstrip()) <= width else chop_cells(word, max(2, width))
