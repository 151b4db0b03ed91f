"""What the processes that are wholly ours do without."""

from __future__ import annotations

import sys


class _NotHere:
    """A finder for `sys.meta_path` by which there is no pandas. (None in `sys.modules` is what PyArrow trips over.)"""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> None:
        if name == "pandas":
            raise ModuleNotFoundError("trimtab does without pandas", name=name)


def without_pandas() -> None:
    """Have `import pandas` fail in this process.

    PyArrow imports pandas where it is installed, for no more than to ask whether what it was given is a thing of
    pandas': 0.2 s and 40 MB, of the recorder and of every `trimtab show`.
    """
    sys.meta_path.insert(0, _NotHere)
