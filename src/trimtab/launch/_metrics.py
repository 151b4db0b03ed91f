"""`--metric NAME[=REGEX][:min|:max]`: which numbers of the script's printed lines are metrics."""

from __future__ import annotations

import re
from typing import NamedTuple

from trimtab._errors import TrimtabError

NUMBER = r"[-+]?(?:(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|(?i:nan|inf(?:inity)?))"
DIRECTIONS = ("min", "max")


class Metric(NamedTuple):
    """A metric's name, the pattern whose one group is its value, and which way is better ("min", "max")."""

    name: str
    pattern: str
    direction: str | None

    def to_json(self) -> list[str | None]:
        return [self.name, self.pattern, self.direction]


def parse_metric(text: str) -> Metric:
    """Read `NAME`, `NAME:max`, `NAME=REGEX` or `NAME=REGEX:max`.

    >>> parse_metric("acc:max").direction
    'max'
    >>> re.search(parse_metric("val loss").pattern, "val loss: 0.31")[1]
    '0.31'
    """
    rest, colon, direction = text.rpartition(":")
    if not colon or direction not in DIRECTIONS:
        rest, direction = text, ""
    name, equals, pattern = rest.partition("=")
    name = name.strip()
    if not name:
        raise TrimtabError(f"--metric needs a name: NAME[=REGEX][:min|:max], got {text!r}")
    if not equals:
        pattern = rf"(?<!\w){re.escape(name)}[=:\s]+({NUMBER})"
    try:
        groups = re.compile(pattern).groups
    except re.error as error:
        raise TrimtabError(f"--metric {name}: {pattern!r} is no regular expression: {error}") from None
    if groups != 1:
        raise TrimtabError(
            f"--metric {name}: the expression needs exactly one group, around the number, got {groups} in "
            f"{pattern!r}; write other groups as (?:...)"
        )
    return Metric(name, pattern, direction or None)
