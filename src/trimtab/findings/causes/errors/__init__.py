"""Exceptions that are known: what is wrong, and the line as it should read.

A file holds the rows of one sort. To add one: a row with the message as it really reads, and that message, with the
line that it came from, in tests/findings/causes/seen_errors.json.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import (
    _formats,
    _ignored,
    _keras,
    _keras_files,
    _libraries,
    _manners,
    _names,
    _passes,
    _shapes,
    _targets,
    _tensorflow,
)
from ._known_error import KnownError as KnownError
from ._known_error import Recognised as Recognised
from ._known_error import recognised
from ._spellings import OLD as OLD

#: The first row that matches counts; names that have moved come after all that is more particular.
ROWS: tuple[KnownError, ...] = (
    *_keras.ROWS,
    *_keras_files.ROWS,
    *_tensorflow.ROWS,
    *_libraries.ROWS,
    *_names.ROWS,
    *_manners.ROWS,
    *_targets.ROWS,
    *_shapes.ROWS,
    *_formats.ROWS,
    *_passes.ROWS,
)


def known_error(exception: Mapping[str, Any]) -> Recognised | None:
    """The cause of an exception and the clue that it is, from its event's data; None where it is not one of those
    known."""
    return recognised(exception, ROWS)


def ignored_setting(name: str, source: str) -> Recognised | None:
    """What to say of a setting that has no effect any more; `source` is the line of the user's that has it."""
    return recognised({"type": _ignored.IGNORED, "message": name, "source": source}, _ignored.ROWS)
