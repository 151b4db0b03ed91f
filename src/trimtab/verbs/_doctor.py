"""What is hooked in this Python and what is missing, each answer found by trying."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module, metadata
from typing import NamedTuple

REQUIRED_PACKAGES = ("numpy", "pyarrow", "rich", "safetensors")
OPTIONAL_PACKAGES = ("optax", "tf_keras", "lightning", "pytorch-lightning", "transformers")
FRAMEWORKS = {
    "torch": ("torch",),
    "tensorflow": ("tensorflow", "tensorflow-cpu"),
    "jax": ("jax",),
    "keras": ("keras",),
}
"""Our name of each, and the packages that bring it."""


class Check(NamedTuple):
    """One answer. `needed` is False for what is good to have."""

    name: str
    ok: bool
    detail: str
    needed: bool = True


def doctor() -> list[Check]:
    """Every check, in the order in which a run needs them."""
    checks: list[Check] = []
    for ask in (_python, _hook, _packages, _rendezvous, _working_directory, _frameworks, _optional):
        checks += _answers(ask)
    return checks


def _answers(ask: Callable[[], Iterator[Check]]) -> list[Check]:
    """A check that fails to be made is one that failed."""
    try:
        return list(ask())
    except Exception as error:
        return [Check(ask.__name__.strip("_"), False, f"{type(error).__name__}: {error}")]


def _python() -> Iterator[Check]:
    version = sys.version.split()[0]
    yield Check("python", sys.version_info >= (3, 10), f"{version}, {sys.executable}")


def _hook() -> Iterator[Check]:
    """A child with a session that leads nowhere tells whether it loaded the start-up hook."""
    code = "import sys; print('trimtab.launch._start' in sys.modules)"
    environment = {**os.environ, "TRIMTAB_SESSION": json.dumps({"socket": os.devnull})}
    child = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    reached = child.stdout.strip() == "True"
    cure = f"not loaded: install trimtab into this Python with pip: {sys.executable} -m pip install trimtab"
    yield Check("start-up hook", reached, "loaded by every Python that `trimtab run` starts" if reached else cure)


def _packages() -> Iterator[Check]:
    for name in REQUIRED_PACKAGES:
        version = _version(name)
        yield Check(name, version is not None, version or f"missing: pip install {name}")


def _rendezvous() -> Iterator[Check]:
    from trimtab.launch._rendezvous import Rendezvous

    place = Rendezvous.make()
    place.close_listener()
    place.control.close()
    place.remove()
    yield Check("socket", True, f"in {os.path.dirname(place.directory)}")


def _working_directory() -> Iterator[Check]:
    here = os.getcwd()
    writable = os.access(here, os.W_OK | os.X_OK)
    detail = (
        f"runs are written to {os.path.join(here, '.trimtab')}" if writable else f"no permission to write in {here}"
    )
    yield Check("working directory", writable, detail)


def _frameworks() -> Iterator[Check]:
    """Each that is installed, and what is relied on in it; to have none is what is wrong."""
    found = {name: version for name, packages in FRAMEWORKS.items() if (version := _first_version(packages))}
    if not found:
        yield Check("frameworks", False, "none is installed: pip install torch, tensorflow, or jax with optax")
    for name, version in found.items():
        yield Check(name, True, version)
        try:
            checks = import_module(f"trimtab.frameworks.{name}").check()
        except Exception as error:
            yield Check(f"{name}: import", False, f"{type(error).__name__}: {error}")
            continue
        for what, ok, detail in checks:
            yield Check(f"{name}: {what}", ok, detail)


def _first_version(packages: Sequence[str]) -> str | None:
    return next((version for name in packages if (version := _version(name))), None)


def _optional() -> Iterator[Check]:
    for name in OPTIONAL_PACKAGES:
        version = _version(name)
        yield Check(name, version is not None, version or "not installed", needed=False)


def _version(name: str) -> str | None:
    with contextlib.suppress(metadata.PackageNotFoundError):
        return metadata.version(name)
    return None
