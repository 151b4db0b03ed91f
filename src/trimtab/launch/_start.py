"""Imported by `trimtab-start.pth` in every Python process that `trimtab run` started, at whatever depth.

Nothing but builtin modules is imported here: a script may have a `json.py` of its own beside it.
"""

from __future__ import annotations

import os
import sys

from ._exits import watch_exits
from ._imports import after_import
from ._session import current, start_session

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType

    from ._session import Session

#: What is called when the script has imported a framework: module -> (our module, its function).
ATTACH = {
    "torch": ("trimtab.frameworks.torch", "attach"),
    "lightning.pytorch": ("trimtab.frameworks.torch", "attach_lightning"),
    "pytorch_lightning": ("trimtab.frameworks.torch", "attach_lightning"),
    "transformers.trainer_callback": ("trimtab.frameworks.torch", "attach_transformers"),
    "tensorflow": ("trimtab.frameworks.tensorflow", "attach"),
    "tf_keras": ("trimtab.frameworks.tensorflow", "attach_legacy_keras"),
    "jax": ("trimtab.frameworks.jax", "attach"),
    "optax": ("trimtab.frameworks.optax", "attach"),
    "keras": ("trimtab.frameworks.keras", "attach"),
}


def start(settings: str) -> Session:
    """Watch this process, as `settings` (the text of TRIMTAB_SESSION) says."""
    session = start_session(settings)
    watch_exits()
    for module in ATTACH:
        after_import(module, lambda found, name=module: attach(session, name, found))  # type: ignore[misc]
    if '"metrics"' in settings:
        from ._stdout import watch_stdout

        watch_stdout(session)
    return session


def attach(session: Session, framework: str, module: ModuleType) -> None:
    """Hand a framework that the script has just imported to the code that watches it."""
    ours, function = ATTACH[framework]
    __import__(ours)
    session.watchers.append(getattr(sys.modules[ours], function)(session))


def tell_reached(path: str | None) -> bool:
    """Leave the sign by which `trimtab run` knows that the start-up hook works.

    False if its place is gone: the run is over, this is a process that it left behind.
    """
    try:
        if path:
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
    except FileNotFoundError:
        return False
    return True


def _main() -> None:
    settings = os.environ.get("TRIMTAB_SESSION")
    if settings and current() is None:
        try:
            if tell_reached(os.environ.get("TRIMTAB_REACHED")):
                start(settings)
        except Exception as error:
            print(f"trimtab: not watching: {type(error).__name__}: {error}", file=sys.stderr)


_main()
