"""The curves of a record that a page shows."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from trimtab.findings import Finding, RecordLike, Track

Floats = npt.NDArray[np.float64]


def tracks_of(record: RecordLike) -> list[Track]:
    return [Track(series) for series in record.series() if len(series.steps["step"])]


def track_of(finding: Finding, record: RecordLike) -> Track | None:
    """The track that a finding is about; the first where it does not say."""
    tracks = tracks_of(record)
    place = finding.where[0] if finding.where else {}
    for track in tracks:
        if track.process == place.get("rank", track.process) and track.optimizer == place.get(
            "optimizer", track.optimizer
        ):
            return track
    return tracks[0] if tracks else None


def curve_around(track: Track, column: str, step: int, before: int = 40, after: int = 8) -> Floats:
    """A column from shortly before a step to shortly after it; values that were not seen are left out."""
    row = int(np.searchsorted(track.step, step))
    rows = np.arange(max(0, row - before), min(len(track), row + after + 1))
    if column == "loss":
        rows = rows[track.has_loss[rows]]
    return np.asarray(track.columns[column], dtype=np.float64)[rows]
