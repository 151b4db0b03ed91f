"""Which optimizers belong together: those whose steps take turns train one thing, those in sequence several."""

from __future__ import annotations

from collections.abc import Sequence

from ._history import RecordLike, SeriesLike, Track


def parts(record: RecordLike) -> list[tuple[Track, ...]]:
    """The tracks of a run, grouped into parts, in order of time.

    The same optimizer on each rank of a job belongs together. Within a job, optimizers whose spans of time overlap (a
    GAN, an actor and its critic, Muon beside AdamW) are one part; those that follow each other (a cross-validation, a
    search) are one part each.
    """
    found: list[tuple[Track, ...]] = []
    for job in _jobs(record):
        found += _by_overlap(job)
    return sorted(found, key=lambda tracks: min(float(track.time[0]) for track in tracks))


def _jobs(record: RecordLike) -> list[list[Track]]:
    processes = record.meta.get("processes") or []
    jobs: dict[object, list[Track]] = {}
    for series in record.series():
        if len(series.steps["step"]):
            jobs.setdefault(_job_of(series, processes), []).append(Track(series))
    return list(jobs.values())


def _job_of(series: SeriesLike, processes: Sequence[object]) -> object:
    entry = processes[series.process] if 0 <= series.process < len(processes) else None
    rank = entry.get("rank") if isinstance(entry, dict) else None
    return "ranks" if rank is not None else series.process


def _by_overlap(tracks: list[Track]) -> list[tuple[Track, ...]]:
    """The lowest rank's tracks say what is a part; the same optimizer of another rank belongs to it, whenever it ran:
    ranks that do not wait for each other need not overlap."""
    lowest = min(track.process for track in tracks)
    groups: list[list[Track]] = []
    end = float("-inf")
    for track in sorted(tracks, key=lambda t: (t.process != lowest, float(t.time[0]), t.optimizer)):
        same = next((group for group in groups if _on_another_rank(group, track)), None)
        if same is not None:
            same.append(track)
            continue
        if groups and (float(track.time[0]) < end or _just_begun(groups[-1], track)):
            groups[-1].append(track)
        else:
            groups.append([track])
        end = max(end, float(track.time[-1]))
    return [tuple(sorted(group, key=lambda t: (t.process, t.optimizer))) for group in groups]


def _on_another_rank(group: list[Track], track: Track) -> bool:
    return any(other.optimizer == track.optimizer and other.process != track.process for other in group)


def _just_begun(group: list[Track], track: Track) -> bool:
    """One step each: no order can be seen yet, and a GAN's first round looks like this."""
    return len(track) == 1 and all(len(other) == 1 for other in group)
