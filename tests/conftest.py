"""Tests are spoken to in English, whatever the locale of the machine."""

import os

import pytest

os.environ["LC_ALL"] = "C.UTF-8"
os.environ.pop("TRIMTAB_LANG", None)

# Their tests share one long process per backend, which each worker would run again.
ONE_PROCESS_PER_BACKEND = ("test_keras.py", "test_keras_examples.py")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.name in ONE_PROCESS_PER_BACKEND:
            given = getattr(getattr(item, "callspec", None), "params", {}).values()
            backend = next((value for value in given if value in ("tensorflow", "jax", "torch")), "one of them")
            item.add_marker(pytest.mark.xdist_group(f"{item.path.stem} on {backend}"))
