"""trimtab watches a deep-learning training, unchanged, and tells what went wrong, where and why.

    trimtab run train.py            on the command line
    with trimtab.watch(): ...       in a notebook or a script
    trimtab.guard(optimizer)        clips and leaves out steps that would blow the training up
    trimtab.log(accuracy=0.93)      a value for the record; does nothing where nothing watches

Importing it loads the standard library only.
"""

from ._errors import TrimtabError as TrimtabError
from ._version import __version__ as __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .launch._guard import guard as guard
    from .launch._log import log as log
    from .launch._watch import watch as watch

__all__ = ["TrimtabError", "__version__", "guard", "log", "watch"]

_HOMES = {"guard": "_guard", "log": "_log", "watch": "_watch"}


def __getattr__(name: str) -> object:
    if name not in (*_HOMES, "optax"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    if name == "optax":
        return import_module(f"{__name__}.optax")
    value: object = getattr(import_module(f"{__name__}.launch.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
