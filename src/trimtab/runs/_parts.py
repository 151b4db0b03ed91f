"""The parts of a table on disk: `part-FIRST-LAST.parquet`, numbered by the flushes whose rows they hold.

A part appears whole, by a rename from outside of the table's directory, and never changes after.
Merging writes one part for a range of flushes and then deletes the pieces; should that be cut
short, a reader passes over every part whose range lies within another's, so that each row counts
once. Nothing is forced to the platters: a part survives the death of the process, not that of the
machine within the seconds that the kernel takes to write it.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

_NAME = re.compile(r"part-(\d{1,18})-(\d{1,18})\.parquet")
MAX_PARTS = 100_000
"""More files than this in one table's directory are not looked at: no run of ours has them."""


LISTINGS = 20


class Part(NamedTuple):
    """One file: the rows of flushes `first` to `last`, of `size` bytes."""

    path: Path
    first: int
    last: int
    size: int


def part_name(first: int, last: int) -> str:
    return f"part-{first:08d}-{last:08d}.parquet"


def all_parts(directory: Path) -> list[Part]:
    """Every part there, in order of flushes, wider ranges first; symbolic links are passed over.

    None where there is no such directory, or none that may be read. Listed anew where a part was
    merged away between the listing and the look at it: else the rows that moved would be missing.
    """
    for _ in range(LISTINGS):
        try:
            found = list(_parts_in(directory))
        except FileNotFoundError:
            continue
        except (OSError, ValueError):
            break
        return sorted(found, key=lambda part: (part.first, -part.last))
    return []


def _parts_in(directory: Path) -> Iterator[Part]:
    with os.scandir(directory) as entries:
        names = [entry.name for entry in entries]
    for match in itertools.islice(filter(None, map(_NAME.fullmatch, names)), MAX_PARTS):
        status = os.lstat(directory / match[0])
        first, last = int(match[1]), int(match[2])
        if stat.S_ISREG(status.st_mode) and first <= last:
            yield Part(directory / match[0], first, last, status.st_size)


def superseded(parts: Iterable[Part]) -> list[Part]:
    """Of parts in the order of `all_parts`, those whose range lies within another's."""
    reached = -1
    inner = []
    for part in parts:
        if part.last <= reached:
            inner.append(part)
        reached = max(reached, part.last)
    return inner


@contextlib.contextmanager
def whole_file(path: Path, scratch: Path) -> Iterator[BinaryIO]:
    """A file that is at `path` once the block has ended without an error, and nowhere before.

    It is written as `scratch`, which must be on the same file system and is gone afterwards.
    """
    try:
        with open(scratch, "wb") as file:
            yield file
        os.replace(scratch, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(scratch)
        raise
