"""Settings of policies: checked before the training starts."""

from __future__ import annotations

from .._errors import TrimtabError

LEAST, MOST = 1e-18, 10_000


class PolicyError(TrimtabError):
    """A policy that cannot be: unknown, with a setting out of its range, or in an order that makes no sense."""


def positive(name: str, value: float) -> float:
    """From 1e-18 to 1e18: quotients of two stay within float32."""
    return _checked(name, value, f"a number from {LEAST:g} to {1 / LEAST:g}", _is_positive(value))


def not_negative(name: str, value: float) -> float:
    """0, or as `positive`."""
    fits = _is_positive(value) or (_is_number(value) and value == 0)
    return _checked(name, value, f"0 or a number from {LEAST:g} to {1 / LEAST:g}", fits)


def fraction(name: str, value: float) -> float:
    """A number between 0 and 1, neither of them."""
    return _checked(name, value, "a number between 0 and 1", _is_number(value) and 0 < value < 1)


def whole(name: str, value: float, least: int) -> int:
    """A whole number from `least` to 10,000, since memory and time grow with it."""
    allowed = f"a whole number from {least} to {MOST}"
    fits = _is_number(value) and least <= value <= MOST and value == int(value)
    return int(_checked(name, value, allowed, fits))


def text_of(name: str, main: float | None = None, **others: tuple[float, float]) -> str:
    """A policy as it is typed: its main setting, and of the others, (value, default), those that differ."""
    settings = [] if main is None else [_plain(main)]
    settings += [f"{key}={_plain(value)}" for key, (value, default) in others.items() if value != default]
    return f"{name}:{','.join(settings)}" if settings else name


def _checked(name: str, value: float, allowed: str, fits: bool) -> float:
    if not fits:
        raise PolicyError(f"{name} must be {allowed}, got {name}={value!r}")
    return value


def _is_positive(value: object) -> bool:
    return isinstance(value, (int, float)) and _is_number(value) and LEAST <= value <= 1 / LEAST


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _plain(value: float) -> str:
    return repr(int(value)) if value == int(value) and abs(value) < 1e15 else repr(float(value))
