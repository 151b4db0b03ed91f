"""How the pages look: words first, signs second, colour last; red against blue, which every eye tells apart."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

LABEL_WIDTH = 8
MAX_WIDTH = 100
LONGEST = 2000  # characters of a name or message from the script

BAD, DOUBTFUL, GOOD, DIM, NAME = "bold bright_red", "bold yellow", "bold bright_blue", "dim", "bold"


class Look(NamedTuple):
    sign: str
    plain_sign: str
    words: str
    style: str


OUTCOME_LOOKS = {
    "trained": Look("✔", "+", "Trained", GOOD),
    "stalled": Look("■", "=", "Stalled", BAD),
    "blew_up": Look("✘", "x", "Blew up", BAD),
    "crashed": Look("✘", "x", "Crashed", BAD),
    "interrupted": Look("‖", "|", "Interrupted", DOUBTFUL),
    "unjudged": Look("?", "?", "Not judged", DOUBTFUL),
    "running": Look("▸", ">", "Running", GOOD),
}
SEVERITY_STYLES = {"fatal": BAD, "serious": BAD, "warning": DOUBTFUL, "note": ""}


def is_ascii(console: Console) -> bool:
    """True where the terminal's encoding has no block characters."""
    return not console.encoding.lower().startswith("utf")


def clean(text: object) -> str:
    """Text from a script as one line that can do no harm: no control characters, no bidirectional overrides.

    >>> clean("a" + chr(27) + "[31m\\nb")
    'a\\\\x1b[31m b'
    """
    line = (" " if c in "\n\r\t\u2028\u2029" else c for c in str(text)[:LONGEST])
    return "".join(f"\\x{ord(c):02x}" if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co") else c for c in line)


def grid(label: int = LABEL_WIDTH) -> Table:
    """A margin, a column of labels (none if `label` is 0), and what is said, which folds within its own column."""
    from rich.table import Table

    table = Table.grid(padding=(0, 1), expand=False)
    table.add_column(width=2)
    table.add_column(width=label, style=DIM, no_wrap=True)
    table.add_column(overflow="fold")
    if not label:
        table.columns[1].width = None
        table.columns[1].max_width = 0
    return table


def line(*pieces: str | tuple[str, str]) -> Text:
    """A line of plain or (text, style) pieces, never read as markup."""
    from rich.text import Text

    return Text.assemble(*pieces)


def for_terminal(text: str, ascii_only: bool) -> str:
    """The text with our own signs spelt in ASCII where the terminal has nothing else."""
    if not ascii_only:
        return text
    for sign, plain in (("→", "->"), ("±", "+/-"), ("·", "-"), ("×", "x"), ("…", "...")):
        text = text.replace(sign, plain)
    return text.encode("ascii", "backslashreplace").decode()
