"""Write docs/record.md from trimtab.vitals: the layout of a run, and every quantity. Run it after a change of one."""

# ruff: noqa: E501 (tables of Markdown)

from __future__ import annotations

from pathlib import Path

from trimtab.vitals import TABLES, Table

HERE = Path(__file__).parent
HEAD = """# The record of a run

`trimtab run` writes one directory, `.trimtab/DATE-TIME-NAME/` or what `--out` says.

| file | what it is |
| --- | --- |
| `run.json` | command, program, versions, git commit, host, processes, optimizers and their tensors; secrets redacted |
| `steps/` `tensors/` `modules/` `losses/` `metrics/` `events/` | the tables below, as Parquet parts, each written whole and renamed into place |
| `verdict.json` | the judgement; its schema is [schemas/verdict.schema.json](schemas/verdict.schema.json) |
| `blackbox/` | at a failure: the last steps, `event.json`, and weights and optimizer state of a stated age (safetensors) |

Open a table in one line:

```python
pandas.read_parquet("RUN/steps")
polars.read_parquet("RUN/steps/*.parquet")
duckdb.sql("select * from 'RUN/steps/*.parquet'")
```

Nothing in a run is executed or unpickled when it is opened. A quantity that was not measured in a row is null; a NaN in the record
is a NaN of the training. Rows that were sent survive `kill -9`; a power failure may cost the last part.
"""


def page() -> str:
    return "\n".join([HEAD, *(_section(table) for table in TABLES.values())])


def _section(table: Table) -> str:
    lines = [f"## {table.name}", "", table.doc, "", "| quantity | type | unit | meaning |", "| --- | --- | --- | --- |"]
    lines += [f"| `{q.name}` | {_type(q.dtype)} | {q.unit} | {_cell(q.doc)} |" for q in table.quantities]
    return "\n".join(lines) + "\n"


def _type(dtype: str) -> str:
    kinds = {"f": "float", "i": "int", "b": "bool"}
    return "text" if dtype == "str" else kinds[dtype[1]] + (str(8 * int(dtype[2])) if dtype[1] != "b" else "")


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    (HERE / "record.md").write_text(page(), encoding="utf-8")
