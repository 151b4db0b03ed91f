"""The page in the terminal: what it says, how it looks at any width, and that names from a script do no harm."""

from __future__ import annotations

import ast
import io
import re
from pathlib import Path

import numpy as np
import pytest
from rich.cells import cell_len
from rich.console import Console

from tests.findings._planted import PlantedRecord, falling, flat, over_depth, record, series, table
from tests.report._pages import PAGES
from trimtab import findings
from trimtab._language import speaking
from trimtab.findings import Cause, Finding, Track, Verdict, judge
from trimtab.report._remedies import in_words
from trimtab.report.terminal import event_line, page

SNAPSHOTS = Path(__file__).parent / "snapshots"


def printed(
    planted: PlantedRecord,
    *,
    width: int = 80,
    encoding: str = "utf-8",
    verdict: Verdict | None = None,
    colour: bool = False,
) -> str:
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    console = Console(file=file, width=width, force_terminal=colour, color_system="standard" if colour else None)
    page(verdict or judge(planted), planted, console)
    file.flush()
    return file.buffer.getvalue().decode(encoding)  # type: ignore[attr-defined]


def nan_at(step: int, n: int = 100) -> PlantedRecord:
    after = np.arange(n) >= step
    forward = {"op": "log", "what": "log of a value that is not positive", "tensor": "head.weight",
               "input": {"nonfinite": 0, "entries": 64, "min": 0.0, "max": 0.9}}  # fmt: skip
    data = {"tensors": ["head.weight", "body.weight"], "loss_finite": False, "forward": forward, "backward_pass": 1}
    planted = series(np.where(after, np.nan, falling(n)), nonfinite=np.where(after, 4, 0),
                     grad_norm=np.where(after, np.nan, 1.5))  # fmt: skip
    return record(planted, events=[{"kind": "nonfinite", "step": step, "data": data}])


def crashed() -> PlantedRecord:
    data = {"type": "RuntimeError", "message": "mat1 and mat2 shapes cannot be multiplied (32x128 and 64x10)",
            "file": "train.py", "line": 88, "function": "forward"}  # fmt: skip
    return record(series(falling(100)), events=[{"kind": "exception", "step": 99, "data": data}], status=1)


def gan() -> PlantedRecord:
    return record(
        series(flat(200, level=0.7), chance=0.69, optimizer=0),
        series(np.linspace(0.7, 8, 200), chance=0.69, optimizer=1, start=0.005),
    )


CASES = {
    "healthy": record(series(falling(300), modules=over_depth(np.zeros(12), np.zeros(12)))),
    "non-finite": nan_at(40),
    "vanishing": record(
        series(flat(200), modules=over_depth(np.zeros(10), np.linspace(-9, -3, 10), activation="Sigmoid"))
    ),
    "stalled": record(series(flat(200))),
    "crash": crashed(),
    "no-steps": record(),
    "gan": gan(),
    "ranks": record(*(series(falling(100, seed=i), process=i) for i in range(8)), processes=8),
    "in-turn": record(series(falling(100)), series(flat(100), optimizer=1, start=2.0)),
}


@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("name", PAGES)
def test_the_page_reads_as_it_did(name, language, colour):
    """Delete the snapshot and run again to accept a new page."""
    with speaking(language):
        planted, verdict = PAGES[name]()
        text = printed(planted, verdict=verdict, colour=colour)
    text = "\n".join(line.rstrip() for line in text.splitlines()) + "\n"
    path = SNAPSHOTS / f"{name}.{language}{'.colour' if colour else ''}.txt"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        pytest.fail(f"{path} was missing and has been written: look at it")
    assert text == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("name", PAGES)
def test_without_colour_the_page_says_the_same(name, language):
    with speaking(language):
        planted, verdict = PAGES[name]()
        plain = printed(planted, verdict=verdict)
        coloured = printed(planted, verdict=verdict, colour=True)
    assert re.sub(r"\x1b\[[\d;]*m", "", coloured).split() == plain.split()


@pytest.mark.parametrize("width", [40, 80, 100])
@pytest.mark.parametrize("name", PAGES)
def test_no_line_of_chinese_is_wider_than_the_terminal(name, width):
    with speaking("zh"):
        planted, verdict = PAGES[name]()
        lines = printed(planted, verdict=verdict, width=width).splitlines()
    assert max(map(cell_len, lines)) <= width


@pytest.mark.parametrize("name", PAGES)
def test_chinese_is_written_where_the_terminal_has_no_more_than_that(name):
    with speaking("zh"):
        planted, verdict = PAGES[name]()
        text = printed(planted, verdict=verdict, encoding="gb2312")
    assert "\\u" not in text
    assert "本次运行" in text


@pytest.mark.parametrize("name", CASES)
def test_the_chinese_page_has_no_english_sentence(name):
    with speaking("zh"):
        text = printed(CASES[name])
    data = {word for place in ("mat1 and mat2 shapes cannot be multiplied",) for word in place.split()}
    for words in re.findall(r"(?:\b[a-z]+ ){3,}[a-z]+", " ".join(text.split())):
        assert set(words.split()) <= data, words


@pytest.mark.parametrize("width", [30, 40, 60, 80, 200])
@pytest.mark.parametrize("name", CASES)
def test_no_line_is_wider_than_the_terminal(name, width):
    assert max(map(len, printed(CASES[name], width=width).splitlines())) <= width


@pytest.mark.parametrize("name", CASES)
def test_a_terminal_without_block_characters_gets_ascii(name):
    assert printed(CASES[name], encoding="ascii").isascii()


def test_the_verdict_comes_first_and_a_healthy_run_says_what_was_compared():
    lines = printed(CASES["healthy"]).splitlines()
    assert "Trained." in lines[1]
    assert "against chance 2.30" in lines[1]
    assert any("no NaN and no infinity in 300 steps" in line for line in lines)


def test_without_colour_there_is_no_escape():
    assert "\x1b" not in printed(CASES["non-finite"])


def test_names_from_the_script_are_neither_markup_nor_control_sequences():
    bad = "[bold red]x[/bold red][link=http://evil]\x1b[31m\x1b]0;title\x07\u202e\u0085\nnext"
    planted = record(series(falling(100), info={"model": bad, "class": bad}))
    planted.name = bad
    where, cause = {"tensor": bad, "op": bad}, Cause("bad-batch", bad)
    finding = Finding("non-finite", "fatal", 3, 9, bad, (where,), {}, (cause,), (bad,))
    parts = (Verdict("trained", 3, name=bad), Verdict("stalled", 3, name=bad))
    text = printed(planted, verdict=Verdict("blew_up", 10, (finding, finding), (bad,), bad, parts))
    assert "[bold red]" in text
    for character in "\x1b\x07\u202e\u0085":
        assert character not in text
    assert "\n" not in event_line(finding)
    assert "\x1b" not in event_line(finding)


def test_what_was_compared_fits_a_line_of_eighty_columns():
    modules = over_depth(np.zeros(120), np.linspace(-10, 10, 120))
    lines = printed(record(series(falling(100), modules=modules))).splitlines()
    (line,) = [line.rstrip() for line in lines if "signal over 120 layers" in line]
    assert line.endswith("signal over 120 layers: forward ×1, backward 10^-20.0, limit 10^±2.0")


@pytest.mark.parametrize(
    ("name", "values", "asked", "shown"),
    [
        ("val_loss", [1.08, 0.0712, 0.0716], [], "1.08 → 0.0716, best 0.0712 val_loss"),
        ("val_acc", [0.2, 0.9, 0.8], [], "0.2 → 0.8, best 0.9 val_acc"),
        ("score", [0.2, 0.9, 0.8], [["score", "", "min"]], "0.2 → 0.8, best 0.2 score"),
        ("score", [0.2, 0.9, 0.8], [["score", "", None]], "0.2 → 0.8 score"),
        ("loss", [1.0, np.nan, 0.5], [], "1 → 0.5 loss"),
        ("loss", [0.5], [], "0.5 loss"),
    ],
)
def test_a_metric_shows_its_best_value_where_it_is_not_the_last(name, values, asked, shown):
    planted = record(series(falling(100)))
    planted.meta["metrics"] = asked
    planted.rows["metrics"] = table("metrics", len(values), name=name, value=values)
    assert shown in " ".join(printed(planted).split())


def test_what_was_not_seen_has_a_line_with_its_reason():
    event = {"kind": "unseen", "data": {"what": "module outputs", "why": "Torch.compile is used."}}
    text = " ".join(printed(record(series(falling(100)), events=[event, event])).split())
    assert text.count("Not seen module outputs: torch.compile is used.") == 1
    event = {"kind": "unseen", "data": {"what": "no step", "why": "The step is compiled."}}
    text = " ".join(printed(record(events=[event])).split())
    assert "No optimizer step was seen: the step is compiled." in text
    assert "Not seen" not in text


@pytest.mark.parametrize("language", ["en", "zh"])
def test_what_a_remedy_means_goes_on_in_its_own_column(language):
    remedies = ("activation=relu>leaky_relu", "output=logits", "clip=agc")
    finding = Finding("dead-units", "warning", 3, 9, "x", (), {}, (), remedies)
    with speaking(language):
        text = printed(record(series(falling(100))), verdict=Verdict("trained", 100, (finding,)), width=72)
    rows = text.splitlines()
    first = next(i for i, row in enumerate(rows) if remedies[0] in row)
    rows = [row.rstrip() for row in rows[first:]]
    rows = ["".join(c + "\0" * (cell_len(c) - 1) for c in row) for row in rows[: rows.index("")]]
    column = 12 + len(remedies[0]) + 2
    assert len(rows) > len(remedies)
    assert {row[12:column].strip() for row in rows} == {*remedies, ""}
    assert all(row[column] != " " for row in rows)


def test_each_remedy_that_a_finding_names_is_said_in_words_too():
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in Path(findings.__file__).parent.rglob("*.py")]
    words = {str(node.value) for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    remedies = {word for word in words if re.fullmatch(r"[a-z_]+[=*][a-z0-9_.:>]+", word)}
    assert len(remedies) > 20
    assert [remedy for remedy in sorted(remedies) if not in_words(remedy, None)] == []


@pytest.mark.parametrize(
    ("kind", "clip"),
    [
        ("torch.optim.adam.Adam", "clip_grad_norm_"),
        ("keras.optimizers.Adam", "global_clipnorm"),
        ("tf_keras.optimizers.Adam", "global_clipnorm"),
        ("optax.adamw", "optax.clip_by_global_norm"),
    ],
)
def test_a_remedy_is_said_in_the_words_of_the_framework(kind, clip):
    planted = series(falling(100), info={"class": kind})
    said = in_words("clip=global:1.0", Track(planted))
    assert said == f"limit the gradient's norm to 1.0 ({clip})"


def test_a_clip_is_told_by_how_often_it_was_at_work():
    norm = np.where(np.arange(100) < 75, 4.0, 0.5)
    text = printed(record(series(falling(100), grad_norm_raw=norm, grad_norm=np.minimum(norm, 1.0))))
    assert "clipped  at 75% of the steps, to at most 1" in text


def test_without_a_record_no_command_is_named_that_would_not_find_it(tmp_path):
    planted = record(series(falling(100)))
    assert "next:" not in printed(planted)
    planted.path = tmp_path / "run"
    assert "next: trimtab show" in printed(planted)


def test_an_event_is_one_line():
    (finding,) = judge(nan_at(40)).findings
    assert event_line(finding).startswith("trimtab: step 40: non-finite: the loss became NaN at step 40, first in log")


def test_the_pages_are_the_same_from_the_kept_verdict():
    planted = nan_at(40)
    verdict = judge(planted)
    assert printed(planted, verdict=Verdict.from_json(verdict.to_json())) == printed(planted, verdict=verdict)
