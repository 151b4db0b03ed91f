"""Each trouble is explained in full, and the documentation is what its file says."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from trimtab.findings import CAUSES, TROUBLES

DOCS = Path(__file__).parents[2] / "docs"


def test_the_pages_are_up_to_date():
    spec = importlib.util.spec_from_file_location("make_troubles", DOCS / "make_troubles.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    wanted = module.pages()
    assert {path.name: path.read_text() for path in (DOCS / "troubles").glob("*.md")} == wanted, (
        "run docs/make_troubles.py"
    )


@pytest.mark.parametrize("trouble", TROUBLES, ids=lambda t: t.name)
def test_a_trouble_says_all_that_it_must(trouble):
    for text in (trouble.summary, trouble.measures, trouble.hurts, trouble.threshold, trouble.remedies):
        assert text.strip()
    assert trouble.is_not
    assert set(trouble.causes) <= set(CAUSES)
    assert trouble.leads_to <= {other.name for other in TROUBLES} - {trouble.name}
