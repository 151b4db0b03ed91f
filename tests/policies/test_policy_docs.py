"""docs/policies.md has a row for each policy, with its settings and defaults; each file says what it must."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from trimtab.policies import POLICIES

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "policies.md").read_text(encoding="utf-8")
ROWS = {m[1]: m[2].strip() for m in re.finditer(r"^\| `([a-z]+(?:=\w+)?)` \|[^|]*\|([^|]*)\|", PAGE, re.MULTILINE)}


def test_the_page_lists_all_policies_in_order() -> None:
    assert list(ROWS) == list(POLICIES)


@pytest.mark.parametrize("name", POLICIES)
def test_the_page_has_the_settings_and_their_defaults(name: str) -> None:
    parameters = inspect.signature(POLICIES[name]).parameters.values()
    shown = [p.name if p.default is p.empty else f"{p.name} ({p.default})" for p in parameters]
    assert ROWS[name] == ", ".join(shown)


@pytest.mark.parametrize("name", POLICIES)
def test_a_policy_names_its_source(name: str) -> None:
    doc = inspect.getdoc(POLICIES[name]) or ""
    assert "Source: " in doc
