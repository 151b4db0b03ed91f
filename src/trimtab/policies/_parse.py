"""Policies as they are typed: `clip=global:1.0`, `skip=spike`, `clip=zclip:2.5,alpha=0.99`, `warmup=100`."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping

from ._policy import Policy
from ._settings import PolicyError

Maker = Callable[..., Policy]


def parse_with(makers: Mapping[str, Maker], text: str) -> Policy:
    """The policy that `text` names: NAME, or NAME:SETTINGS, settings being numbers separated by commas.

    A setting is `name=number`; the first may be the number alone. `warmup=100` is `warmup:100`.
    """
    name, colon, settings = text.strip().partition(":")
    if name not in makers and name.partition("=")[0] in makers:
        name, colon, settings = text.strip().partition("=")
    if name not in makers:
        raise PolicyError(_unknown(name, makers))
    maker = makers[name]
    known = inspect.signature(maker).parameters
    values = _values(name, settings if colon else None, list(known))
    missing = [key for key, p in known.items() if p.default is p.empty and key not in values]
    if missing:
        raise PolicyError(f"`{text}` lacks {missing[0]}, which has no default; give it, as `{name}:0.5`")
    try:
        return maker(**values)
    except PolicyError as error:
        raise PolicyError(f"`{text}`: {error}") from None


def _values(name: str, settings: str | None, known: list[str]) -> dict[str, float]:
    if settings is None:
        return {}
    values: dict[str, float] = {}
    for place, setting in enumerate(settings.split(",")):
        key, equals, number = setting.partition("=")
        if not equals:
            key, number = (known[0] if known and place == 0 else ""), setting
        if key.strip() not in known:
            raise PolicyError(_unknown_setting(name, setting, known))
        if key.strip() in values:
            raise PolicyError(f"`{name}` is given {key.strip()} twice; keep one of them")
        values[key.strip()] = _number(name, key.strip(), number)
    return values


def _number(name: str, key: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        got = repr(text) if text.strip() else "nothing"
        raise PolicyError(f"`{name}`: {key} must be a number, got {got}; as `{name}:{key}=0.5`") from None


def _unknown(name: str, makers: Mapping[str, Maker]) -> str:
    allowed = f"allowed are {', '.join(makers)}"
    nearest = difflib.get_close_matches(name, makers, 1)
    if not nearest:  # as `global`, or `clip=globalnorm`
        nearest = [maker for maker in makers if (word := maker.partition("=")[2]) and name and word in name][:1]
    hint = f"; did you mean `{nearest[0]}`?" if nearest else ""
    return f"no policy is called {name!r}{hint}; {allowed}"


def _unknown_setting(name: str, setting: str, known: list[str]) -> str:
    if not known:
        return f"`{name}` has no settings, got {setting!r}; write `{name}`"
    settings = ", ".join(f"{key}=NUMBER" for key in known)
    rule = "separated by commas; the first may be a number alone"
    return f"`{name}` has no setting {setting.strip()!r}; it has {settings}, {rule}"
