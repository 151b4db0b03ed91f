"""Names that are gone from their modules, and modules that are gone."""

from __future__ import annotations

import builtins
import re
from dataclasses import replace

from ._known_error import Groups, KnownError
from ._moved_names import GRAPHS, MOVED, TENSORFLOW, TENSORFLOW_1
from ._spellings import OLD, gone, renamed

_DOTTED = re.compile(r"[A-Za-z_][\w.]*")
# The module that an error names -> the one that people write.
_PUBLIC = (
    (r"^tensorflow\._api\.v\d\b", "tensorflow"),
    (r"^keras\._tf_keras\.keras\b", "keras"),
    (r"^keras\.api(\._v\d\.keras)?\b", "keras"),
    (r"^tensorflow\.(python\.)?keras\b", "keras"),
)


def _public(dotted: str) -> str:
    for pattern, name in _PUBLIC:
        dotted = re.sub(pattern, name, dotted)
    return dotted


def _moved(groups: Groups) -> str:
    return _public(".".join(filter(None, (groups["module"], groups.get("name")))))


def _says_moved(groups: Groups) -> str:
    old, new = _moved(groups), groups["new"]
    said = {"old": old, "new": new}
    return renamed(said) if _DOTTED.fullmatch(new) else gone(said)


def _attribute(groups: Groups) -> str:
    """`np.product` -> `np.prod`: the new name by the script's own name of the library, where it begins with one."""
    new, chain = groups["new"], groups["chain"]
    if not _DOTTED.fullmatch(new):
        return ""
    library, _, within = _public(groups["module"]).partition(".")
    within = f".{within}" if within else ""
    if new.partition(".")[0] != library or not chain.endswith(within):
        return new
    return chain[: len(chain) - len(within)] + new[len(library) :]


def _import_from(groups: Groups) -> str:
    """`from flax import nn` -> `from flax import linen as nn`: what follows in the script stays as it is."""
    new, name = groups["new"], groups["name"]
    if not _DOTTED.fullmatch(new) or hasattr(builtins, new):
        return ""
    called = groups.get("called") or name
    module, _, new_name = new.rpartition(".")
    named = f"{new_name} as {called}" if called != new_name else new_name
    return f"from {_kept_prefix(groups)}{module} import {named}" if module else f"import {named}"


def _import_module(groups: Groups) -> str:
    new = groups["new"]
    return _kept_prefix(groups) + new if _DOTTED.fullmatch(new) else ""


def _kept_prefix(groups: Groups) -> str:
    """`tensorflow.keras` stays `tensorflow.keras`."""
    return "tensorflow." if groups["module"].startswith("tensorflow.") and groups["new"].startswith("keras.") else ""


def _names(names: dict[str, str], also: tuple[str, ...] = ()) -> tuple[KnownError, ...]:
    """A name that is gone, asked of its module, imported from it, or a module itself.

    A line of the user's that does not hold it called a library that asked for it: there is nothing to paste then.
    """
    attribute, name, module = (
        ("AttributeError", r"^module '(?P<module>[\w.]+)' has no attribute '(?P<name>\w+)'"),
        ("ImportError", r"^cannot import name '(?P<name>\w+)' from '(?P<module>[\w.]+)'"),
        ("ModuleNotFoundError", r"^No module named '(?P<module>[\w.]+)'"),
    )
    return (
        KnownError(
            OLD,
            *attribute,
            _says_moved,
            names=names,
            key=_moved,
            line=r"\b%(name)s\b",
            turn=r"\b(?P<chain>[A-Za-z_][\w.]*)\.%(name)s(?:\.preprocessing)?\b",
            into=_attribute,
            tries=("%(new)s",),
            also=also,
        ),
        KnownError(
            OLD,
            *name,
            _says_moved,
            names=names,
            key=_moved,
            line=r"\b%(name)s\b",
            turn=r"\bfrom\s+[\w.]+\s+import\s+%(name)s(?:\s+as\s+(?P<called>\w+))?[ \t]*$",
            into=_import_from,
            tries=("%(new)s",),
            also=also,
        ),
        KnownError(
            OLD,
            *module,
            _says_moved,
            names=names,
            key=_moved,
            line=r"\b%(module)s\b",
            turn=r"(?:(?<=import )|(?<=from ))%(module)s(?:\.\w+)*",
            into=_import_module,
            tries=("%(new)s",),
            also=also,
        ),
        *(KnownError(OLD, *error, _says_moved, names=names, key=_moved) for error in (attribute, name, module)),
    )


# The first row that matches counts.
ROWS: tuple[KnownError, ...] = (
    *_names(TENSORFLOW, (TENSORFLOW_1,)),
    *(replace(row, turn="", tries=(TENSORFLOW_1,) if row.tries else ()) for row in _names(GRAPHS)),
    *_names(MOVED),
)
