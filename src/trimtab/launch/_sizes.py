"""`--max-size`: sizes as people write them."""

from __future__ import annotations

import re

from trimtab._errors import TrimtabError

_FACTORS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}
LEAST_BYTES = 10**6


def parse_size(text: str) -> int:
    """Bytes in a size such as "500MB", "2G" or "1GiB".

    >>> parse_size("1.5 GB")
    1500000000
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d*)?)\s*([kmgt]i?)?b?\s*", text.lower())
    if match is None:
        raise TrimtabError(f"--max-size must be a size such as 500MB or 2GiB, got {text!r}")
    size = int(float(match[1]) * _FACTORS[match[2] or ""])
    if size < LEAST_BYTES:
        raise TrimtabError(f"--max-size must be at least 1MB, got {text!r}")
    return size
