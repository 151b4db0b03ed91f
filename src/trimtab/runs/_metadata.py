"""run.json: what is known of a run besides its numbers. Standard library only."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import socket
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from .._version import __version__
from ._git import head_of
from ._parts import whole_file
from ._redact import Redactor

SCHEMA = 1
"""Version of the layout of a run directory. Fields and columns are only ever added to it."""

MAX_JSON_BYTES = 64 << 20

_SHOWN_VARIABLES = (
    "RANK", "LOCAL_RANK", "GROUP_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT",
    "CONDA_DEFAULT_ENV", "VIRTUAL_ENV", "LD_PRELOAD", "TF_ENABLE_ONEDNN_OPTS", "KERAS_BACKEND", "WANDB_MODE",
)  # fmt: skip
_SHOWN_PREFIXES = (
    "OMP_", "MKL_", "OPENBLAS_", "KMP_", "CUDA_", "CUBLAS_", "NVIDIA_", "HIP_", "ROCR_", "PYTHON", "TORCH",
    "PYTORCH_", "NCCL_", "GLOO_", "XLA_", "JAX_", "SLURM_JOB", "SLURM_PROCID", "SLURM_NTASKS", "SLURM_NNODES",
    "PBS_JOBID", "LSB_JOBID",
)  # fmt: skip

PACKAGES = (
    "torch", "torchvision", "torchaudio", "lightning", "pytorch-lightning", "transformers", "accelerate",
    "deepspeed", "timm", "datasets", "torch-geometric", "tensorflow", "keras", "jax", "jaxlib", "flax", "optax",
    "numpy", "scipy", "scikit-learn", "pandas", "triton", "bitsandbytes", "schedulefree",
)  # fmt: skip
"""Packages whose version is written down, where they are installed."""


def describe_run(
    command: Sequence[str],
    *,
    program: str = "",
    metrics: Sequence[Any] = (),
    interventions: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    redactor: Redactor | None = None,
) -> dict[str, Any]:
    """What can be said of a run before it begins.

    `command` is what is executed, `program` its short name, `metrics` what `--metric` asked for. The text of
    the script is not recorded, its SHA-256 is, so that a later diff can be held against it.
    """
    environment = os.environ if environment is None else environment
    redactor = redactor or Redactor(environment, command)
    here = _working_directory()
    script = _script_in(command)
    shown = {name: value for name, value in sorted(environment.items()) if _is_shown(name)}
    return {
        "schema": SCHEMA,
        "trimtab": __version__,
        "program": redactor.word(program),
        "command": redactor.arguments(command),
        "script": None if script is None else redactor.word(str(script)),
        "script_sha256": _hash_of(script),
        "with": list(interventions),
        "metrics": redactor.tree(metrics),
        "cwd": None if here is None else redactor.word(str(here)),
        "git": None if here is None else _git(here, redactor),
        "host": socket.gethostname(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "executable": redactor.word(sys.executable),
        "environment": {name: redactor.variable(name, value) for name, value in shown.items()},
    }


def installed(names: Iterable[str] = PACKAGES) -> dict[str, str]:
    """Versions of the packages that are installed for this interpreter, none of them imported."""
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for name in names:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def now() -> str:
    """The time in UTC, ISO 8601, to the millisecond."""
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")


def recorder_identity() -> dict[str, Any]:
    """Who writes a run: by it a reader tells a run under way from one whose recorder was killed."""
    return {"pid": os.getpid(), "born": _born(os.getpid()), "host": socket.gethostname()}


def is_alive(recorder: Any) -> bool:
    """Whether the process of `recorder_identity` still runs, on this host."""
    if not isinstance(recorder, dict) or recorder.get("host") != socket.gethostname():
        return False
    pid = recorder.get("pid")
    return isinstance(pid, int) and pid > 0 and _born(pid) is not None and _born(pid) == recorder.get("born")


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Replace `path` in one go. Raises OSError."""
    text = json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False)
    with whole_file(path, path.with_name(f".{path.name}.part")) as file:
        file.write(text.encode("utf-8", "replace"))


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; empty if it is missing, too large, or no JSON object."""
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            return {}
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}


def new_meta(meta: Mapping[str, Any]) -> dict[str, Any]:
    """run.json at the start of a run: `meta` and the fields that its recorder keeps."""
    start = {"schema": SCHEMA, "trimtab": __version__, "started": now(), "ended": None, "status": None}
    kept = {"recorder": recorder_identity(), "processes": [], "dropped": {}}
    return {**start, **meta, **kept}


def _git(directory: Path, redactor: Redactor) -> dict[str, Any] | None:
    head = head_of(directory)
    return head and {**head, "branch": head["branch"] and redactor.word(head["branch"])}


def _working_directory() -> Path | None:
    try:
        return Path.cwd()
    except OSError:  # it was deleted
        return None


def _script_in(command: Sequence[str]) -> Path | None:
    """The file that the command runs, absolute; None for `-m`, `-c` and the like."""
    words = list(command)
    if words and (words[0] == sys.executable or Path(words[0]).name.startswith("python")):
        del words[0]
    for word in words:
        if word[:2] in ("-m", "-c"):
            return None
        if not word.startswith("-") and os.path.exists(word):
            main = Path(word).absolute() / "__main__.py"
            return main if main.is_file() else Path(word).absolute()
    return None


def _hash_of(script: Path | None) -> str | None:
    if script is None:
        return None
    try:
        with open(script, "rb") as file:
            return hashlib.sha256(file.read(MAX_JSON_BYTES)).hexdigest()
    except OSError:
        return None


def _is_shown(name: str) -> bool:
    return name in _SHOWN_VARIABLES or name.startswith(_SHOWN_PREFIXES)


def _born(pid: int) -> str | None:
    """When a process began, in the kernel's ticks; "unknown" where there is no /proc, None if it is gone."""
    try:
        with open(f"/proc/{pid}/stat", encoding="latin-1") as file:
            fields = file.read().rpartition(")")[2].split()
        return None if fields[0] == "Z" else fields[19]
    except OSError:
        pass
    if os.path.isdir("/proc/self"):
        return None
    try:
        os.kill(pid, 0)
    except OSError:
        return None
    return "unknown"
