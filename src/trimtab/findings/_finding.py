"""What a judgement is: Finding and Verdict, frozen, with the JSON that `verdict.json` promises."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

SCHEMA = 1
SEVERITIES = ("note", "warning", "serious", "fatal")
OUTCOMES = ("blew_up", "crashed", "interrupted", "stalled", "unjudged", "trained")  # worst first


@dataclass(frozen=True)
class Cause:
    """What, once changed, would cure a trouble; `why` is the evidence for it in this run."""

    cause: str
    why: str


@dataclass(frozen=True)
class Finding:
    """One trouble of one run, with its extent, its evidence and what only followed from it.

    `severity`: fatal (the training is lost), serious (much worse than it need be), warning, note.
    `status`: suspected from the record alone, confirmed once a remedy has been tried.
    `where`: tensors or modules, first the one that matters most. `says` is the sentence for people.
    """

    kind: str
    severity: str
    first_step: int
    last_step: int
    says: str
    where: tuple[Mapping[str, Any], ...] = ()
    evidence: Mapping[str, Any] | None = None
    causes: tuple[Cause, ...] = ()
    remedies: tuple[str, ...] = ()
    consequences: tuple[Finding, ...] = ()
    status: str = "suspected"

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "status": self.status,
            "severity": self.severity,
            "first_step": int(self.first_step),
            "last_step": int(self.last_step),
            "says": self.says,
            "where": [plain(place) for place in self.where],
            "evidence": plain(self.evidence or {}),
            "causes": [{"cause": cause.cause, "why": cause.why} for cause in self.causes],
            "try": list(self.remedies),
            "consequences": [finding.to_json() for finding in self.consequences],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Finding:
        """Read what `to_json` wrote; fields that a newer version added are ignored."""
        return cls(
            kind=str(data["kind"]),
            severity=str(data["severity"]),
            first_step=int(data["first_step"]),
            last_step=int(data["last_step"]),
            says=str(data.get("says", "")),
            where=tuple(dict(place) for place in data.get("where", ())),
            evidence=dict(data.get("evidence", {})),
            causes=tuple(Cause(str(c["cause"]), str(c["why"])) for c in data.get("causes", ())),
            remedies=tuple(str(remedy) for remedy in data.get("try", ())),
            consequences=tuple(cls.from_json(f) for f in data.get("consequences", ())),
            status=str(data.get("status", "suspected")),
        )


@dataclass(frozen=True)
class Guarded:
    """One policy over a run: of `steps` it changed `acted`, of these it left out `skipped`.

    `least_scale`: least factor on any gradient, `least_lr_scale` on the learning rate, 1 where it scaled none.
    `went_back`: so often weights and optimizer state were put back. `warns`: what it may hide; empty mostly.
    """

    policy: str
    steps: int
    acted: int
    skipped: int
    least_scale: float = 1.0
    least_lr_scale: float = 1.0
    went_back: int = 0
    warns: str = ""

    def to_json(self) -> dict[str, Any]:
        return dict(vars(self))

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Guarded:
        return cls(
            policy=str(data["policy"]),
            steps=int(data["steps"]),
            acted=int(data["acted"]),
            skipped=int(data["skipped"]),
            least_scale=float(data.get("least_scale", 1.0)),
            least_lr_scale=float(data.get("least_lr_scale", 1.0)),
            went_back=int(data.get("went_back", 0)),
            warns=str(data.get("warns", "")),
        )


@dataclass(frozen=True)
class Verdict:
    """The judgement on a run.

    `compared`: sentences that say what was compared with what, so that "trained" is a claim with
    its evidence. `reason`: why the outcome is what it is where no finding says so. `parts`: one
    Verdict per model for a process that trains several in turn, else empty. `loss`: "first", "last" and
    "chance" of the loss that was judged, each only if it is known. `guard`: what each policy of a guarded training did.
    """

    outcome: str
    steps: int
    findings: tuple[Finding, ...] = ()
    compared: tuple[str, ...] = ()
    reason: str = ""
    parts: tuple[Verdict, ...] = ()
    name: str = ""
    loss: Mapping[str, float] = field(default_factory=dict)
    guard: tuple[Guarded, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "outcome": self.outcome,
            "steps": int(self.steps),
            "name": self.name,
            "reason": self.reason,
            "compared": list(self.compared),
            "loss": plain(self.loss),
            "guard": [plain(policy.to_json()) for policy in self.guard],
            "parts": [part.to_json() for part in self.parts],
            "findings": [finding.to_json() for finding in self.findings],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Verdict:
        return cls(
            outcome=str(data["outcome"]),
            steps=int(data["steps"]),
            findings=tuple(Finding.from_json(f) for f in data.get("findings", ())),
            compared=tuple(str(sentence) for sentence in data.get("compared", ())),
            reason=str(data.get("reason", "")),
            parts=tuple(cls.from_json(part) for part in data.get("parts", ())),
            name=str(data.get("name", "")),
            loss={str(key): float(value) for key, value in dict(data.get("loss", {})).items()},
            guard=tuple(Guarded.from_json(policy) for policy in data.get("guard", ())),
        )


def at_least(severity: str, limit: str) -> bool:
    """True where `severity` is `limit` or worse."""
    return SEVERITIES.index(severity) >= SEVERITIES.index(limit)


def plain(value: Any) -> Any:
    """The value in strict JSON: no NumPy scalars; NaN and infinities as the strings "nan", "inf", "-inf"."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, str) or value is None or isinstance(value, bool):
        return value
    if isinstance(value, Sequence):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
