"""A table opens with one line in pandas, polars and DuckDB, and all three see the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas
import polars
import pytest

from trimtab.runs import Record, RunWriter

from ._feed import message, steps, tensors


@pytest.mark.parametrize("closed", [True, False])
def test_three_libraries_open_a_table_in_one_line_each_and_agree(tmp_path: Path, closed: bool) -> None:
    directory = tmp_path / "run"
    writer = RunWriter(directory, {}, on_trouble=pytest.fail)
    for process in (0, 1):
        writer.names(process, "tensor", 0, [f"{process}.ü", f"{process}.b", "shared"])
    for flush in range(40):
        for process in (0, 1):
            writer.rows(process, *steps(flush * 8, 8, loss=float(process)))
            writer.rows(process, *tensors(flush * 8, 8, 3))
        columns = {"optimizer": np.zeros(2, "<i2"), "step": np.full(2, flush * 8)}
        writer.rows(0, *message("metrics", columns, name=["acc", f"m{flush}"], value=[float("nan"), None]))
        writer.flush()
    if closed:
        writer.close()
    for table, rows in (("steps", 640), ("tensors", 1920), ("metrics", 80)):
        of_pandas = pandas.read_parquet(directory / table)
        of_polars = polars.read_parquet(directory / table)
        of_duckdb = duckdb.sql(f"SELECT * FROM '{directory}/{table}/*.parquet'").df()
        assert len(of_pandas) == len(of_polars) == len(of_duckdb) == rows
        assert list(of_pandas) == of_polars.columns == list(of_duckdb)
        for name in of_pandas:
            first, third = (plain(frame[name].tolist()) for frame in (of_pandas, of_duckdb))
            assert first == plain(of_polars[name].to_list()) == third, name
    loss = pandas.read_parquet(directory / "steps")["loss"]
    np.testing.assert_array_equal(loss, Record.open(directory).table("steps")["loss"])


def plain(values: list[Any]) -> list[Any]:
    """The same values with one word for what pandas cannot tell apart: null and NaN."""
    return [None if value is None or value is pandas.NA or value != value else value for value in values]


def test_a_step_is_found_by_its_statistics(tmp_path: Path) -> None:
    directory = tmp_path / "run"
    writer = RunWriter(directory, {}, on_trouble=pytest.fail)
    writer.names(0, "tensor", 0, ["a", "b", "c"])
    for flush in range(20):
        writer.rows(0, *tensors(flush * 64, 64, 3))
        writer.flush()
    writer.close()
    assert len(pandas.read_parquet(directory / "tensors", filters=[("step", "==", 700)])) == 3
    assert polars.scan_parquet(directory / "tensors").filter(polars.col("step") == 700).collect().height == 3
