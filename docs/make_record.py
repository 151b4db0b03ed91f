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
| `blackbox/` | at a failure: the last steps, what failed, weights, optimizer state and, on request, the batch: [see below](#the-black-box) |

Open a table in one line:

```python
pandas.read_parquet("RUN/steps")
polars.read_parquet("RUN/steps/*.parquet")
duckdb.sql("select * from 'RUN/steps/*.parquet'")
```

Nothing in a run is executed or unpickled when it is opened. A quantity that was not measured in a row is null; a NaN in the record
is a NaN of the training. Rows that were sent survive `kill -9`; a power failure may cost the last part.

## The black box

At the first non-finite gradient, a loss of 1,000 times the first, or an exception that ends the training:

| file | what it is |
| --- | --- |
| `event.json` | what happened, at which step; the age in steps of the snapshot; what is to be said of the batch |
| `steps.parquet`, `tensors.parquet` | the last steps in full, which no size limit touches |
| `weights.safetensors`, `optimizer.safetensors` | the snapshot: the newest copy from before the failure |
| `failed.safetensors`, `failed_optimizer.safetensors` | the same at the failed step itself, before it is taken; absent where the failure was seen only later (on a GPU without `--keep-batch`) |
| `batch.safetensors` | with `--keep-batch`: the batch of the failed step |

Each copy takes at most 128 MB; of a larger model the weights alone are kept, or nothing. State is named `PARAMETER/KEY`
(`0.weight/exp_avg_sq`).

`trimtab run --keep-batch` keeps the tensors that the script's own calls of modules were given in the failed step
(`forward0/args/0`, `forward0/kwargs/labels`) and the targets given to loss functions (`loss0/targets`), at most 256 MB, and the
state of the CPU's random numbers before each call. It is off by default: a batch is your data as it is. Until the next step begins the
tensors of the last one are held, not copied; what the script changes in place meanwhile is named in `event.json`. Nothing is kept
of a compiled model.

`trimtab show RUN --replay` says what the box holds: ranges, entries that are not finite, rows of the batch that are not finite or far from the
others. Then it runs your script again, under the command that it names first, up to its first optimizer steps, each of them an
experiment: the kept batch on the weights that failed (does it happen again?), on the snapshot and on the weights of the start, then
batches of the script. It reads loss and gradients before each step, and leaves the script without doing what comes at its end; what
the script writes before its first steps, it writes. Where the recorded command cannot be used (secrets were in it, it was no script, it was recorded on another
host, the script is not yours), give it: `trimtab show RUN --replay -- train.py --lr 0.1`. Code, modules and scripts are never run because a
record names them, unless the script is yours and lies on the host of the run.

What comes out is exact where the model's inputs and the targets are all that the batch is. It is not where targets enter the loss other than
through a loss function of PyTorch or a module (they are then those of the script's own batch), where dropout is drawn on a GPU, where
buffers or frozen weights differ from those of the start, and with several optimizers, whose other weights are those of the start; the replay
says so where it can know. Exit status: 0 if the event happened again, 1 if not, 3 if that could not be tried.
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
