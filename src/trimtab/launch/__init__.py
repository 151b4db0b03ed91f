"""Running a training under watch, exactly as Python would run it. Standard library only in the watched process."""

from ._session import current as current
