"""The catalogue holds every template of the source, with the same fields, and nothing else."""

from __future__ import annotations

import ast
import io
import re
import string
from pathlib import Path

import pytest

import trimtab
from trimtab._chinese import CHINESE, MEASURES, NAMES, UNSEEN
from trimtab._language import counted, described, speaking, spoken, t, users_language
from trimtab.findings import CAUSES, TROUBLES
from trimtab.policies import POLICIES

SOURCE = Path(trimtab.__file__).parent
VARIABLES = ("TRIMTAB_LANG", "LC_ALL", "LC_MESSAGES", "LANG")


def calls_of(*names: str) -> list[ast.Call]:
    """Every call of a function of one of these names in the source."""
    trees = [ast.parse(path.read_text(encoding="utf-8"), str(path)) for path in sorted(SOURCE.rglob("*.py"))]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    return [n for n in nodes if isinstance(n, ast.Call) and isinstance(n.func, ast.Name) and n.func.id in names]


def fields_of(template: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(template) if name is not None}


def templates() -> set[str]:
    calls = calls_of("t")
    shaky = [ast.unparse(c) for c in calls if not (c.args and isinstance(c.args[0], ast.Constant))]
    assert not shaky, "a template is a literal string"
    return {str(call.args[0].value) for call in calls}  # type: ignore[attr-defined]


def nouns() -> set[str]:
    calls = [call for call in calls_of("plural", "counted") if isinstance(call.args[1], ast.Constant)]
    return {str(call.args[1].value) for call in calls}  # type: ignore[attr-defined]


def test_every_template_has_its_chinese_and_no_entry_is_left_over():
    found = templates()
    assert sorted(found - CHINESE.keys()) == []
    assert sorted(CHINESE.keys() - found) == []


def test_every_noun_has_its_measure_word_and_no_entry_is_left_over():
    assert MEASURES.keys() == nouns()


def test_every_trouble_cause_and_policy_has_its_line_and_no_entry_is_left_over():
    names = {trouble.name for trouble in TROUBLES} | CAUSES.keys() | POLICIES.keys()
    assert sorted(names - NAMES.keys()) == []
    assert sorted(NAMES.keys() - names) == []


def test_everything_that_can_be_unseen_has_its_line_and_no_entry_is_left_over():
    source = "\n".join(path.read_text(encoding="utf-8") for path in SOURCE.rglob("*.py"))
    said = re.findall(r"(?:unseen\(\s*|\nUNSEEN = |\nUNGUARDED = )\"([^\".]+)\"", source)
    assert set(said) == UNSEEN.keys()


@pytest.mark.parametrize("template", CHINESE)
def test_a_translation_has_the_fields_of_its_template(template):
    assert fields_of(CHINESE[template]) == fields_of(template)


@pytest.mark.parametrize("text", [*CHINESE.values(), *MEASURES.values(), *NAMES.values(), *UNSEEN.values()])
def test_a_translation_can_be_written_where_only_simplified_chinese_can(text):
    for sign in "→±·×…":  # spelt in ASCII there
        text = text.replace(sign, "")
    assert text.encode("gb2312")


def test_each_call_names_the_fields_of_its_template():
    for call in calls_of("t"):
        given = {keyword.arg for keyword in call.keywords}
        assert None in given or given == fields_of(str(call.args[0].value)), ast.unparse(call)  # type: ignore[attr-defined]


def test_english_is_spoken_until_a_block_asks_for_chinese():
    assert t("step {step}", step=3) == "step 3"
    with speaking("zh"):
        assert spoken() == "zh"
        assert t("step {step}", step=3) == "第 3 步"
        assert counted(1, "step") == "1 步"
        assert described("no-such-name", "English") == "English"
        assert t("a template that nobody translated: {x}", x="{y}") == "a template that nobody translated: {y}"
        with speaking("en"):
            assert counted(2, "step") == "2 steps"
    assert spoken() == "en"


@pytest.mark.parametrize(
    ("variables", "language"),
    [
        ({}, "en"),
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": "C"}, "en"),
        ({"LANG": "de_DE.UTF-8", "TRIMTAB_LANG": "zh"}, "zh"),
        ({"LANG": "zh_CN.UTF-8", "TRIMTAB_LANG": "en"}, "en"),
        ({"TRIMTAB_LANG": "zh-Hans"}, "zh"),
        ({"TRIMTAB_LANG": "fr"}, "en"),
        ({"TRIMTAB_LANG": ""}, "en"),
    ],
)
def test_the_language_is_that_of_the_variable_else_of_the_locale(variables, language, monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert users_language() == language


@pytest.mark.parametrize(("encoding", "language"), [("ascii", "en"), ("latin-1", "en"), ("gbk", "zh"), ("utf-8", "zh")])
def test_a_stream_that_cannot_write_chinese_is_spoken_to_in_english(encoding, language, monkeypatch):
    monkeypatch.setenv("TRIMTAB_LANG", "zh")
    assert users_language(io.TextIOWrapper(io.BytesIO(), encoding=encoding)) == language
