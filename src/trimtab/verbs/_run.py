"""Run a program under watch."""

from __future__ import annotations

import os
from collections.abc import Sequence

from trimtab.launch._out import check_free
from trimtab.launch._program import interpreter_flags, parse_program
from trimtab.launch._supervisor import Settings, run_watched

DEFAULT_MAX_BYTES = 10**9


def run(
    program: Sequence[str],
    *,
    out: str | None = None,
    metrics: Sequence[str] = (),
    max_size: str | None = None,
    keep_batch: bool = False,
    policies: Sequence[str] = (),
    guard: bool = False,
) -> int:
    """Run `program` as Python would and record it; its exit status. Settings are checked first.

    `policies` guard the training, in order; `guard` puts the default ones before them.
    """
    parsed = parse_program(program, interpreter_flags())
    if out is not None:
        check_free(out)
    settings = Settings(
        out=os.path.abspath(out) if out is not None else None,
        metrics=_metrics(metrics),
        max_bytes=_bytes(max_size),
        keep_batch=keep_batch,
        policies=_policies(policies, guard),
    )
    return run_watched(parsed, settings)


# Imports in the functions: what is not asked for must not make the start slower.
def _metrics(texts: Sequence[str]) -> list[list[str | None]]:
    if not texts:
        return []
    from trimtab.launch._metrics import parse_metric

    return [parse_metric(text).to_json() for text in texts]


def _bytes(size: str | None) -> int:
    if size is None:
        return DEFAULT_MAX_BYTES
    from trimtab.launch._sizes import parse_size

    return parse_size(size)


def _policies(texts: Sequence[str], guard: bool) -> list[str]:
    if not texts and not guard:
        return []
    from trimtab.policies import guarding

    return [part.text for part in guarding(texts, with_default=guard).parts]
