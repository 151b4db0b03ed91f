"""What the docs say is what the code says; what they tell the reader to type works."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType

import jsonschema
import pytest

from trimtab.cli import VERBS
from trimtab.findings import CAUSES, TROUBLES, Verdict
from trimtab.vitals import TABLES

ROOT = Path(__file__).resolve().parent.parent.parent


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_the_record_is_up_to_date():
    assert (ROOT / "docs" / "record.md").read_text(encoding="utf-8") == script("make_record").page()


def test_every_quantity_says_what_it_is():
    for table in TABLES.values():
        assert table.doc.endswith(".")
        for quantity in table.quantities:
            assert re.match(r"[A-Z0-9].*\.$", quantity.doc, re.DOTALL), quantity.name
        names = [quantity.name for quantity in table.quantities]
        assert len(names) == len(set(names))


PAGES = (
    "README.md",
    "CONTRIBUTING.md",
    "docs/README.md",
    "docs/record.md",
    "docs/troubles/README.md",
    "docs/verdict.md",
    "examples/README.md",
)


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#]+)", text) if "://" not in link]
    missing = [link for link in links if not ((ROOT / page).parent / link).exists()]
    assert missing == []


def test_the_readme_names_every_verb():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [verb for verb in VERBS if f"trimtab {verb}" not in text] == []


def test_the_example_of_a_verdict_obeys_the_schema_and_has_troubles_and_causes_that_exist():
    text = (ROOT / "docs" / "verdict.md").read_text(encoding="utf-8")
    example = json.loads(text.partition("```json\n")[2].partition("```")[0])
    schema = json.loads((ROOT / "docs" / "schemas" / "verdict.schema.json").read_text(encoding="utf-8"))
    jsonschema.validate(example, schema, cls=jsonschema.Draft202012Validator)
    assert Verdict.from_json(example).to_json() == example
    findings = [f for root in example["findings"] for f in (root, *root["consequences"])]
    assert {f["kind"] for f in findings} <= {trouble.name for trouble in TROUBLES}
    assert {cause["cause"] for f in findings for cause in f["causes"]} <= CAUSES.keys()
