"""A Run: one training on disk, how it is written and how it is read.

Importing this package loads the standard library only, for it is imported by the watched process
as well. What reads and writes a record is loaded when it is first asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ._channel import Channel as Channel

if TYPE_CHECKING:
    from ._columns import Columns as Columns
    from ._directory import claim_directory as claim_directory
    from ._listing import RunSummary as RunSummary
    from ._listing import list_runs as list_runs
    from ._metadata import describe_run as describe_run
    from ._record import Record as Record
    from ._record import Series as Series
    from ._redact import Redactor as Redactor
    from ._writer import RunWriter as RunWriter

_HOMES = {
    "Columns": "_columns",
    "Record": "_record",
    "Redactor": "_redact",
    "RunSummary": "_listing",
    "RunWriter": "_writer",
    "Series": "_record",
    "claim_directory": "_directory",
    "describe_run": "_metadata",
    "list_runs": "_listing",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
