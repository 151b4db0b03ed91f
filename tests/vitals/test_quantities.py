"""The definitions of what is recorded hold together."""

from __future__ import annotations

import numpy as np
import pytest

from trimtab.vitals import KEY, TABLES, Table

ALL = list(TABLES.values())


@pytest.mark.parametrize("table", ALL, ids=list(TABLES))
def test_every_table_begins_with_the_same_key(table: Table) -> None:
    assert table.quantities[: len(KEY)] == KEY


@pytest.mark.parametrize("table", ALL, ids=list(TABLES))
def test_every_quantity_is_defined_once_and_says_what_it_is(table: Table) -> None:
    names = [quantity.name for quantity in table.quantities]
    assert len(set(names)) == len(names)
    for quantity in table.quantities:
        assert quantity.name.isidentifier()
        assert quantity.doc.endswith((".", ")"))
        assert quantity.dtype == "str" or np.dtype(quantity.dtype).str == quantity.dtype


def test_a_table_is_found_by_its_name_and_a_quantity_in_it() -> None:
    assert all(table.name == name for name, table in TABLES.items())
    assert TABLES["steps"]["loss"].dtype == "<f8"
