"""`trimtab.log(accuracy=0.93)`: values for the record from within a script."""

from __future__ import annotations

from typing import Any

from ._session import current


def log(*, step: int | None = None, **values: Any) -> None:
    """Record each value as a metric, at the optimizer step where the training stands (or at `step`).

    Does nothing where nothing watches, save that what is no number is refused in any case. A tensor
    with one entry is a number; taking it waits for the device, as `.item()` does.

    >>> log(accuracy=0.93, epoch=2)
    >>> log(accuracy="high")
    Traceback (most recent call last):
    TypeError: trimtab.log takes numbers, got accuracy='high' (str)
    """
    numbers = {name: _number(name, value) for name, value in values.items()}
    session = current()
    if session is None:
        return
    try:
        for name, number in numbers.items():
            session.log(name, number, step=step)
    except Exception:
        session.error("trimtab.log")


def _number(name: str, value: Any) -> float:
    is_number = hasattr(value, "__float__") or hasattr(value, "__index__")
    if isinstance(value, (str, bytes)) or not is_number:
        raise TypeError(f"trimtab.log takes numbers, got {name}={value!r:.80} ({type(value).__name__})")
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(
            f"trimtab.log takes numbers, got {name} of type {type(value).__name__}, which is not one: {error}"
        ) from None
