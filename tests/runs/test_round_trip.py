"""What goes in comes out: every column, every null apart from every NaN, whoever sent it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from trimtab.runs import Record, Redactor, RunWriter
from trimtab.vitals import TABLES

from ._feed import message, steps


class NoRedaction(Redactor):
    def text(self, text: str) -> str:
        return text


NAMES = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)


@st.composite
def block(draw: st.DrawFn) -> dict[str, Any]:
    """A message of any table: any columns beside the key, sent in any of the ways that the wire allows."""
    table = TABLES[draw(st.sampled_from(sorted(TABLES)))]
    rows = draw(st.integers(1, 12))
    columns: dict[str, Any] = {
        "optimizer": draw(hnp.arrays("<i2", rows, elements=st.integers(0, 2))),
        "step": draw(hnp.arrays("<i8", rows, elements=st.integers(0, 2**40))),
    }
    values: dict[str, Any] = {}
    for quantity in table.quantities[3:]:
        way = draw(st.sampled_from(("absent", "bytes", "list", "masked")))
        if quantity.dtype == "str":
            if way != "absent":
                values[quantity.name] = draw(st.lists(st.none() | NAMES, min_size=rows, max_size=rows))
            continue
        column = draw(hnp.arrays(quantity.dtype, rows, elements=elements(quantity.dtype)))
        if way in ("bytes", "masked"):
            columns[quantity.name] = column
        if way == "masked":
            columns[quantity.name + "?"] = draw(hnp.arrays(bool, rows))
        if way == "list":
            keep = draw(hnp.arrays(bool, rows))
            values[quantity.name] = [v if k else None for v, k in zip(column.tolist(), keep, strict=True)]
    return {"table": table.name, "columns": columns, "values": values, "process": draw(st.integers(0, 3))}


def elements(dtype: str) -> st.SearchStrategy[Any]:
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return st.floats(width=kind.itemsize * 8)
    return hnp.from_dtype(kind)


def expected_rows(sent: dict[str, Any]) -> list[dict[str, Any]]:
    """The slow, obvious way from a message to rows."""
    columns, values = sent["columns"], sent["values"]
    rows = []
    for i in range(len(columns["step"])):
        row: dict[str, Any] = {"process": sent["process"]}
        for quantity in TABLES[sent["table"]].quantities[1:]:
            name = quantity.name
            row[name] = values[name][i] if name in values else None
            if name in columns and (name + "?" not in columns or columns[name + "?"][i]):
                row[name] = columns[name][i].item()
        if sent["table"] == "steps" and row["backwards"] == 0:
            row["loss"] = None
        rows.append(row)
    return rows


def comparable(rows: list[dict[str, Any]]) -> list[list[str]]:
    return [[repr(value) for value in row.values()] for row in rows]


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(flushes=st.lists(st.lists(block(), max_size=4), min_size=1, max_size=4))
def test_every_row_comes_back_as_it_was_sent(flushes: list[list[dict[str, Any]]]) -> None:
    troubles: list[str] = []
    expected: dict[str, list[dict[str, Any]]] = {name: [] for name in TABLES}
    with tempfile.TemporaryDirectory() as scratch:
        run = Path(scratch) / "run"
        writer = RunWriter(run, {}, on_trouble=troubles.append, redactor=NoRedaction())
        for sent_together in flushes:
            flushed: dict[str, list[dict[str, Any]]] = {name: [] for name in TABLES}
            for sent in sent_together:
                writer.rows(sent["process"], *message(sent["table"], sent["columns"], **sent["values"]))
                flushed[sent["table"]] += expected_rows(sent)
            writer.flush()
            for name, rows in flushed.items():
                expected[name] += sorted(rows, key=lambda row: (row["step"], row["process"], row["optimizer"]))
        writer.close()
        assert troubles == []
        for name, rows in expected.items():
            assert (run / name).exists() == bool(rows)
            if rows:
                read = pq.read_table(run / name).to_pylist()
                assert comparable(read) == comparable(rows)
        agree_live_and_on_disk(writer.record(), Record.open(run))


def agree_live_and_on_disk(live: Record, stored: Record) -> None:
    for name in ("steps", "losses", "metrics", "events"):
        of_live, of_disk = live.table(name), stored.table(name)
        order = np.lexsort((of_live["optimizer"], of_live["process"], of_live["step"]))
        order_disk = np.lexsort((of_disk["optimizer"], of_disk["process"], of_disk["step"]))
        assert len(order) == len(order_disk)
        for column, values in of_disk.items():
            assert values.dtype == of_live[column].dtype
            if len(np.unique(of_disk["step"])) == len(order):
                np.testing.assert_array_equal(of_live[column][order], values[order_disk])


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return tmp_path / "run"


def test_names_sent_once_are_known_in_every_later_block_and_kept_apart_by_process(run: Path) -> None:
    writer = RunWriter(run, {}, on_trouble=pytest.fail)
    for process, names in ((0, ["a", "b"]), (1, ["b", "ü\u0000\n'"])):
        writer.names(process, "tensor", 0, names[:1])
        writer.names(process, "tensor", 1, names[1:])
        columns = {"optimizer": np.zeros(3, "<i2"), "step": np.zeros(3, "<i8"), "tensor": np.array([1, 0, -1], "<i4")}
        writer.rows(process, *message("tensors", columns))
    writer.rows(0, *steps(0, 1))
    writer.rows(1, *steps(0, 1))
    live = writer.record()
    writer.close()
    for record in (live, Record.open(run)):
        assert [list(s.tensors(0)["tensor"]) for s in record.series()] == [["b", "a", None], ["ü\u0000\n'", "b", None]]


def test_a_lone_surrogate_in_a_name_loses_itself_and_nothing_else(run: Path) -> None:
    writer = RunWriter(run, {}, on_trouble=pytest.fail)
    columns = {"optimizer": np.zeros(3, "<i2"), "step": np.arange(3)}
    writer.rows(0, *message("metrics", columns, name=["a\ud800", "a\udfff", "b"], value=[1.0, 2.0, 3.0]))
    writer.close()
    assert list(Record.open(run).metrics()["name"]) == ["a?", "a?", "b"]


def test_a_step_without_backward_pass_has_no_loss_and_a_nan_with_one_stays(run: Path) -> None:
    writer = RunWriter(run, {}, on_trouble=pytest.fail)
    columns = {
        "optimizer": np.zeros(3, "<i2"), "step": np.arange(3), "backwards": np.array([1, 0, 1], "<i4"),
        "loss": np.array([1.0, 5.0, np.nan]),
    }  # fmt: skip
    writer.rows(0, *message("steps", columns))
    writer.close()
    assert repr(pq.read_table(run / "steps")["loss"].to_pylist()) == "[1.0, None, nan]"


def test_a_raw_norm_that_was_not_sent_reads_as_the_applied_one(run: Path) -> None:
    writer = RunWriter(run, {}, on_trouble=pytest.fail)
    key = {"optimizer": np.zeros(2, "<i2"), "tensor": np.zeros(2, "<i4")}
    norms = {"grad_norm": np.array([1, 2], "<f4"), "grad_norm_raw": np.array([8, np.nan], "<f4")}
    writer.names(0, "tensor", 0, ["w"])
    writer.rows(0, *steps(0, 5))
    writer.rows(0, *message("tensors", {**key, "step": np.array([0, 1]), "grad_norm": norms["grad_norm"]}))
    writer.rows(0, *message("tensors", {**key, "step": np.array([2, 3]), **norms}))
    live = writer.record().series()[0]
    writer.close()
    for series in (live, Record.open(run).series()[0]):
        raw = [float(series.tensors(step)["grad_norm_raw"][0]) for step in range(4)]
        np.testing.assert_array_equal(raw, [1, 2, 8, np.nan])


@pytest.mark.parametrize(
    "header",
    [
        {"table": "steps", "rows": 1, "columns": [["step", "<i8"]]},
        {"table": "steps", "rows": 10**12, "columns": [["optimizer", "<i2"], ["step", "<i8"]]},
        {"table": "steps", "rows": -1, "columns": [["optimizer", "<i2"], ["step", "<i8"]]},
        {"table": "../steps", "rows": 1, "columns": []},
        {"table": "steps", "rows": 1, "columns": [["optimizer", "|O"], ["step", "<i8"]]},
        {"table": "steps", "rows": 1, "columns": [], "values": {"optimizer": [0], "step": [0, 1]}},
        {"table": "tensors", "rows": 1, "columns": [["tensor", "<i4"]], "values": {"optimizer": [0], "step": [0]}},
        {},
    ],
)
def test_a_block_that_fits_no_table_is_told_once_and_costs_only_itself(run: Path, header: dict[str, Any]) -> None:
    troubles: list[str] = []
    writer = RunWriter(run, {}, on_trouble=troubles.append)
    writer.rows(0, *steps(0, 10))
    writer.rows(0, header, b"\0\0\0\0")
    writer.rows(0, header, b"\0\0\0\0")
    writer.rows(0, *steps(10, 10))
    writer.close()
    assert len(troubles) == 1
    assert len(Record.open(run).series()[0].steps["step"]) == 20
