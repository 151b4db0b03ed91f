"""How the pages look: words first, signs second, colour last; red against blue, which every eye tells apart."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, NamedTuple

from .._language import spoken, t

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from ._folded import Folded

LABEL_WIDTH = 8
MAX_WIDTH = 100
LONGEST = 2000  # characters of a name or message from the script

BAD, DOUBTFUL, GOOD, DIM, NAME = "bold bright_red", "bold yellow", "bold bright_blue", "dim", "bold"


class Look(NamedTuple):
    sign: str
    plain_sign: str
    style: str


OUTCOME_LOOKS = {
    "trained": Look("✔", "+", GOOD),
    "stalled": Look("■", "=", BAD),
    "blew_up": Look("✘", "x", BAD),
    "crashed": Look("✘", "x", BAD),
    "interrupted": Look("‖", "|", DOUBTFUL),
    "unjudged": Look("?", "?", DOUBTFUL),
    "running": Look("▸", ">", GOOD),
}
UNKNOWN_LOOK = Look("?", "?", "")
SEVERITY_STYLES = {"fatal": BAD, "serious": BAD, "warning": DOUBTFUL, "note": ""}


def outcome_words(outcome: str) -> str:
    """An outcome as the pages name it; one that a newer version added stays as it is."""
    words = {
        "trained": t("Trained"),
        "stalled": t("Stalled"),
        "blew_up": t("Blew up"),
        "crashed": t("Crashed"),
        "interrupted": t("Interrupted"),
        "unjudged": t("Not judged"),
        "running": t("Running"),
    }
    return words.get(outcome, clean(outcome))


def severity_words(severity: str) -> str:
    words = {"fatal": t("fatal"), "serious": t("serious"), "warning": t("warning"), "note": t("note")}
    return words.get(severity, clean(severity))


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
    table.add_column()
    if not label:
        table.columns[1].width = None
        table.columns[1].max_width = 0
    return table


def line(*pieces: str | tuple[str, str]) -> Text:
    """A line of plain or (text, style) pieces, never read as markup."""
    from rich.text import Text

    return Text.assemble(*pieces)


def folded(*pieces: str | tuple[str, str], hang: int = 0) -> Folded:
    """As `line`, for text that folds; its later lines are indented by `hang`, where that leaves room."""
    from ._folded import Folded

    return Folded(line(*pieces), hang)


def for_terminal(text: str, ascii_only: bool) -> str:
    """The text with our own signs spelt in ASCII where the terminal has nothing else; Chinese stays Chinese."""
    if not ascii_only:
        return text
    for sign, plain in (("→", "->"), ("±", "+/-"), ("·", "-"), ("×", "x"), ("…", "...")):
        text = text.replace(sign, plain)
    encoding = "gb2312" if spoken() == "zh" else "ascii"
    return text.encode(encoding, "backslashreplace").decode(encoding)
