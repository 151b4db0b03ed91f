"""Replay the black box of a run: what it holds, and whether the event happens again in the script."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from trimtab._language import t
from trimtab.launch._again import Again, CannotRepeatError, given_program, recorded_program, run_again
from trimtab.runs import Record
from trimtab.runs._blackbox import BlackBox, NoBlackBoxError

from ._experiments import Experiment, is_event, read_split, recorded_numbers


@dataclass(frozen=True)
class Replayed:
    """What a replay has shown.

    `again`: whether the event happened again, None where that was not to be found out, for `reason`.
    `reading`: what the experiments say together, a sentence each.
    """

    record: Record
    box: BlackBox
    recorded: dict[str, float | None]
    command: str | None = None
    experiments: list[Experiment] = field(default_factory=list)
    again: bool | None = None
    reason: str | None = None
    reading: list[str] = field(default_factory=list)
    caveats: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": 1,
            "run": {"name": self.record.name, "path": str(self.record.path)},
            "event": _strict(self.box.event),
            "recorded": _strict(self.recorded),
            "kept": {part: [_strict(s.to_json()) for s in found] for part, found in self.box.summaries.items()},
            "command": self.command,
            "experiments": self.experiments,
            "again": self.again,
            "reason": self.reason,
            "reading": self.reading,
            "caveats": self.caveats,
            "damage": self.box.damage,
        }


def replay(
    name: str, root: Path, program: Sequence[str] = (), *, say: Callable[[str], object] = lambda _: None
) -> Replayed:
    """Replay a run by name. `program`: the command to use in place of the recorded one. `say` is told which command
    runs, before it does. Raises NoBlackBoxError where there is none."""
    record = Record.open(name, root=root)
    if record.path is None:
        raise NoBlackBoxError(f"{name} is not on disk")
    box = BlackBox(record.path)
    recorded = recorded_numbers(record, box.event)
    if not box.has("weights"):
        return Replayed(record, box, recorded, reason=t("the black box holds no weights"))
    try:
        again = given_program(program) if program else recorded_program(record.meta)
    except CannotRepeatError as error:
        hint = t("give the command yourself: trimtab show {run} --replay -- train.py ARGS...", run=record.name)
        return Replayed(record, box, recorded, reason=f"{error}; {hint}")
    command = shlex.join(again.command)
    say(t("running your script up to its first optimizer steps, in {place}: {command}", place=again.directory,
          command=command))  # fmt: skip
    found = _run_all(again, box)
    return _judged(record, box, recorded, command, found, again)


def _run_all(again: Again, box: BlackBox) -> dict[str, Any]:
    """All experiments; where one ends the script by an exception, the script is run once more for the others,
    those first that are not likely to end so."""
    task = {"box": str(box.path.absolute()), "experiments": plan(box)}
    found = run_again(again, task)
    done: list[Experiment] = found["experiments"]
    if done and "exception" in done[-1] and (left := task["experiments"][len(done) :]):
        more = run_again(again, {**task, "experiments": sorted(left, key=lambda pair: pair[1] == "kept")})
        found["experiments"] = [*done, *more["experiments"]]
    return found


def plan(box: BlackBox) -> list[list[str]]:
    """The experiments, the event itself first: [weights, batch] each."""
    kept = [["failed", "kept"], ["snapshot", "kept"], ["start", "kept"]] if box.has_batch else []
    script = [["failed", "script"], ["start", "script"]]
    experiments = [*kept, *script]
    has_both = box.has("failed") and box.event.get("age_steps") != 0
    return experiments if has_both else [e for e in experiments if e[0] != "snapshot"]


def _judged(
    record: Record,
    box: BlackBox,
    recorded: dict[str, float | None],
    command: str,
    found: dict[str, Any],
    again: Again,
) -> Replayed:
    experiments: list[Experiment] = found.get("experiments", [])
    caveats = _caveats(box, experiments, found, again)
    reason = found.get("problem") or (None if experiments else _no_step(found))
    happened = None if reason and not experiments else is_event(experiments[0], box.event, recorded)
    if happened is not None and not box.has_batch:
        kept = box.event.get("batch") or {}
        why = kept.get("not_kept") or t("the run was without --keep-batch")
        caveats.insert(0, t("The batch was not kept ({why}): a batch of the script stood in for it.", why=why))
        happened = True if happened else None
        reason = reason or (None if happened else t("without the batch of that step the event cannot be repeated"))
    reading = read_split(experiments, box.event, recorded) if experiments else []
    return Replayed(record, box, recorded, command, experiments, happened, reason, reading, caveats)


def _caveats(box: BlackBox, experiments: Sequence[Experiment], found: dict[str, Any], again: Again) -> list[str]:
    caveats = []
    if again.changed:
        caveats.append(t("The script has changed since the run."))
    batch = box.event.get("batch") or {}
    if changed := batch.get("changed_in_place"):
        names = ", ".join(map(str, changed))
        caveats.append(t("Changed in place after they had been given, so not what was seen: {names}.", names=names))
    if missed := [name for e in experiments[:1] if e["batch"] == "kept" for name in e.get("not_used", ())]:
        names = ", ".join(missed)
        caveats.append(t("The script made no call that took these tensors of the batch: {names}.", names=names))
    if box.has_batch and not batch.get("losses"):
        caveats.append(t("No loss function of PyTorch was seen: targets that went into the loss another way are those "
                         "of the script's own batch."))  # fmt: skip
    if found.get("uncompiled"):
        caveats.append(t("The script compiles its model; here it ran uncompiled."))
    if (found.get("optimizers") or 1) > 1:
        caveats.append(t("The script has several optimizers: the weights of the others are those of the start."))
    return caveats


def _no_step(found: dict[str, Any]) -> str:
    last = found.get("stderr") or [""]
    return t("the script ended (status {status}) before its first optimizer step: {last}", status=found["status"],
             last=last[-1])  # fmt: skip


def _strict(value: Any) -> Any:
    """The same data with NaN and infinities as words, which strict JSON lacks."""
    if isinstance(value, dict):
        return {key: _strict(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_strict(item) for item in value]
    return str(value) if isinstance(value, float) and not np.isfinite(value) else value
