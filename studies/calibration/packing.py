"""The corpus as a handful of Parquet files: each table of all runs with a column `run`, and one of what became of them.

Of `tensors` the rows of sampled steps are kept, and those around whatever happened: the first and last steps, events,
the largest gradient. The other tables are kept whole.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from trimtab.runs import Columns, Record
from trimtab.runs._arrow import from_arrow
from trimtab.vitals import TABLES

from .corpus import Recipe
from .recording import OUTCOME

EDGE = 3
"""Steps at either end, and around an event or one of the largest gradients, of which every tensor is kept."""

NOTHING = pa.table({"run": pa.array([], pa.string())})
"""A table of which no run has rows, or which did not exist when the corpus was packed."""


@dataclass(frozen=True)
class Trained:
    """One run of the packed corpus: what was trained, what became of it, and its record."""

    recipe: Recipe
    status: int
    error: str
    gain: float
    seconds: float
    curve: tuple[tuple[int, float, float, float], ...]
    meta: dict[str, Any]
    corpus: PackedCorpus

    @property
    def name(self) -> str:
        return self.recipe.name

    @cached_property
    def record(self) -> Record:
        return Record(Rows(self.corpus, self.name), self.meta, None)


def pack(recipes: Sequence[Recipe], runs: Path, into: Path) -> int:
    """Write the finished runs of `recipes` to the folder `into`; how many there are."""
    done = sorted((r for r in recipes if (runs / r.name / OUTCOME).exists()), key=lambda r: r.name)
    into.mkdir(parents=True, exist_ok=True)
    for table in TABLES:
        pieces = [_rows(runs / recipe.name, recipe.name, table) for recipe in done]
        found = [piece for piece in pieces if piece is not None]
        _write(pa.concat_tables(found, promote_options="default") if found else NOTHING, into / f"{table}.parquet")
    _write(pa.Table.from_pylist([_facts(runs / r.name, r) for r in done]), into / "corpus.parquet")
    return len(done)


class PackedCorpus:
    """Opens what `pack` wrote. Tables are read when first needed, and whole."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._tables: dict[str, tuple[pa.Table, dict[str, slice]]] = {}

    def runs(self) -> Iterator[Trained]:
        for row in pq.read_table(self._folder / "corpus.parquet").to_pylist():
            curve = tuple(tuple(point) for point in json.loads(row["curve"]))
            recipe = Recipe(row["base"], row["seed"], row["fault"])
            yield Trained(
                recipe, row["status"], row["error"], row["gain"], row["seconds"], curve, json.loads(row["meta"]), self
            )

    def rows(self, table: str, run: str) -> pa.Table:
        if table not in self._tables:
            file = self._folder / f"{table}.parquet"
            whole = pq.read_table(file) if file.exists() else NOTHING
            self._tables[table] = whole, _slices(whole)
        whole, slices = self._tables[table]
        span = slices.get(run, slice(0, 0))
        return whole.slice(span.start, span.stop - span.start)

    def preload(self) -> None:
        """Read every table, so that forked children share them."""
        for table in TABLES:
            self.rows(table, "")


class Rows:
    """Where a packed run's record has its rows from; what `trimtab.runs` calls a Source."""

    def __init__(self, corpus: PackedCorpus, run: str) -> None:
        self._corpus, self._run = corpus, run
        self._whole: dict[str, Columns] = {}
        self.damage: list[str] = []

    def whole(self, table: str) -> Columns:
        if table not in self._whole:
            self._whole[table] = from_arrow(TABLES[table], self._corpus.rows(table, self._run))
        return self._whole[table]

    def at(self, table: str, process: int, optimizer: int, step: int) -> Columns:
        rows = self.whole(table)
        mask = (rows["step"] == step) & (rows["optimizer"] == optimizer) & (rows["process"] == process)
        return {name: column[mask] for name, column in rows.items()}


def _rows(directory: Path, run: str, table: str) -> pa.Table | None:
    parts = sorted((directory / table).glob("*.parquet"))
    if not parts:
        return None
    rows = pa.concat_tables([pq.read_table(part) for part in parts])
    if table == "tensors":
        rows = rows.filter(pc.is_in(rows["step"], pa.array(sorted(_kept_steps(directory)), rows["step"].type)))
    names = pa.array([run], pa.string()).dictionary_encode()
    column = pa.DictionaryArray.from_arrays(pa.array(np.zeros(len(rows), np.int32)), names.dictionary)
    return rows.add_column(0, "run", column)


def _kept_steps(directory: Path) -> set[int]:
    record = Record.open(directory)
    kept: set[int] = set()
    for series in record.series():
        steps = series.steps
        at, norm = steps["step"], np.nan_to_num(steps["grad_norm_raw"], nan=np.inf)
        moments = {int(at[0]), int(at[-1]), int(at[int(np.argmax(norm))])}
        moments |= {int(step) for step in at[steps["nonfinite"] > 0][:1]}
        moments |= {int(step) for step in record.events()["step"]}
        kept |= {near for step in moments for near in range(step - EDGE, step + EDGE + 1)}
        kept |= {int(step) for step in series.sampled_steps}
    return kept


def _facts(directory: Path, recipe: Recipe) -> dict[str, Any]:
    outcome = json.loads((directory / OUTCOME).read_text(encoding="utf-8"))
    meta = Record.open(directory).meta
    kept = {key: meta.get(key) for key in ("schema", "trimtab", "program", "status", "ended", "processes")}
    return {
        "run": recipe.name,
        "family": recipe.family,
        "base": recipe.base,
        "seed": recipe.seed,
        "fault": recipe.fault,
        "status": outcome["status"],
        "error": outcome["error"],
        "gain": float(outcome["gain"]),
        "seconds": outcome["seconds"],
        "curve": json.dumps(outcome["curve"]),
        "meta": json.dumps(kept),
    }


def _write(table: pa.Table, path: Path) -> None:
    floats = [f.name for f in table.schema if pa.types.is_floating(f.type)]
    others = [f.name for f in table.schema if f.name not in floats and not pa.types.is_boolean(f.type)]
    waiting = path.with_suffix(".new")
    pq.write_table(
        table.unify_dictionaries(), waiting, compression="zstd", compression_level=12,
        use_dictionary=others, use_byte_stream_split=floats,
    )  # fmt: skip
    waiting.replace(path)


def _slices(table: pa.Table) -> dict[str, slice]:
    """Where the rows of each run lie: they are written one run after the other."""
    if not table.num_rows:
        return {}
    runs = table["run"].combine_chunks().cast(pa.string()).to_numpy(zero_copy_only=False)
    edges = np.flatnonzero(np.concatenate([[True], runs[1:] != runs[:-1]]))
    ends = [*edges[1:], len(runs)]
    return {str(runs[start]): slice(int(start), int(end)) for start, end in zip(edges, ends, strict=True)}
