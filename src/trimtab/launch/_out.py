"""`--out DIR`: what is refused before anything is started."""

from __future__ import annotations

import os

from trimtab._errors import TrimtabError


def check_free(out: str) -> None:
    """Refuse a directory for the run that holds something."""
    if not out:
        raise TrimtabError("--out needs the name of a directory")
    try:
        if not os.path.lexists(out) or (os.path.isdir(out) and not os.listdir(out)):
            return
    except OSError:
        return  # it cannot be read: the recorder will say so, the training goes on
    what = "exists and is not empty" if os.path.isdir(out) else "is a file"
    raise TrimtabError(f"--out {out} {what}; name a new directory, or delete it first: rm -r {out}")
