"""The study, declared: which trainings, which faults in which of them, which policies, how many seeds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from studies.calibration import corpus

from trimtab.policies import GUARD

SEEDS = 8
SPREAD_SEEDS = 16
"""Healthy runs without a policy, by which a base's spread is measured; the first `SEEDS` of them are twins."""

BASES = (
    "mlp-adam", "mlp-momentum", "vgg-adam", "resnet-nesterov", "lstm-unclipped", "rnn-unclipped", "gcn-adam",
    "gcn-momentum", "transformer-adamw",
)  # fmt: skip
"""Of the calibration study's corpus: settings of examples/, their own clipping off."""

WITH_ADAM = ("mlp-adam", "vgg-adam", "resnet-adam", "lstm-unclipped", "rnn-unclipped", "gcn-adam", "transformer-adamw")

PLANTED: dict[str, tuple[str, ...]] = {
    "bad-batch": BASES,
    "nan-batch": BASES,
    "lr-x10": BASES,
    "normal-init": BASES,
    "recurrent-x2": ("lstm-unclipped", "rnn-unclipped"),
    "stale": WITH_ADAM,
}
"""The faults of faults.py, and the bases in which each is planted."""

FEWER_SEEDS = {"nan-batch": 2, "normal-init": 4}
"""Where seeds decide little: every policy skips what is not finite, and weights from N(0, 1) are lost to the last."""

DEFAULT = "--guard"
POLICIES: dict[str, tuple[str, ...]] = {
    DEFAULT: GUARD,
    "skip=nonfinite": ("skip=nonfinite",),
    "clip=global:1": ("clip=global:1.0",),
    "clip=value:0.5": ("clip=value:0.5",),
    "clip=autoclip": ("clip=autoclip",),
    "clip=zclip": ("clip=zclip",),
    "clip=adagc": ("clip=adagc",),
    "clip=agc": ("clip=agc",),
    "gradient=normalised": ("gradient=normalised",),
    "--guard, clip=global:1": (*GUARD, "clip=global:1.0"),
    "--guard, clip=zclip": (*GUARD, "clip=zclip"),
}
"""Not here: skip=spike alone, which does what --guard does, since every policy skips what is not finite; clip=tensor,
which is clip=global per tensor; gradient=sign, which is another optimizer and wants a learning rate of its own;
gradient=centralised, which bounds nothing."""

QUICK_BASES = ("mlp-momentum", "rnn-unclipped")
QUICK_FAULTS = ("bad-batch", "nan-batch")
QUICK_POLICIES = (DEFAULT, "clip=global:1")


@dataclass(frozen=True)
class Run:
    """One training; `fault` and `policy` are empty for none."""

    base: str
    seed: int
    fault: str = ""
    policy: str = ""

    @property
    def name(self) -> str:
        return " ".join(filter(None, (self.base, f"s{self.seed}", self.fault, self.policy)))

    @property
    def family(self) -> str:
        return corpus.BASES[self.base][0]

    @property
    def twin(self) -> Run:
        """The healthy training of the same seed, which no policy guards."""
        return Run(self.base, self.seed)

    @property
    def unguarded(self) -> Run:
        return replace(self, policy="")


@dataclass(frozen=True)
class Plan:
    bases: tuple[str, ...]
    planted: dict[str, tuple[str, ...]]
    policies: tuple[str, ...]
    seeds: int
    spread_seeds: int

    def unguarded(self) -> list[Run]:
        """Every training without a policy: the healthy ones, among them all twins, and the planted ones."""
        bases = dict.fromkeys((*self.bases, *(base for bases in self.planted.values() for base in bases)))
        healthy = [Run(base, seed) for seed in range(self.spread_seeds) for base in bases]
        cells = [(fault, base) for fault, bases in self.planted.items() for base in bases]
        planted = [Run(base, seed, fault) for seed in range(self.seeds) for fault, base in cells]
        return [*healthy, *(run for run in planted if run.seed < FEWER_SEEDS.get(run.fault, self.seeds))]

    def guarded(self, lost: Iterable[Run]) -> list[Run]:
        """The healthy trainings under each policy, and those of `lost`; seed by seed, so that a part is a fair one."""
        healthy = [Run(base, seed) for seed in range(self.seeds) for base in self.bases]
        runs = [replace(run, policy=policy) for run in (*healthy, *lost) for policy in self.policies]
        return sorted(runs, key=lambda run: run.seed)


FULL = Plan(BASES, PLANTED, tuple(POLICIES), SEEDS, SPREAD_SEEDS)
QUICK = Plan(QUICK_BASES, dict.fromkeys(QUICK_FAULTS, QUICK_BASES), QUICK_POLICIES, 2, 4)
