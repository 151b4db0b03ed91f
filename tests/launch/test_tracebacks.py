"""What the record keeps of an exception: the user's own line, and what stands there."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from trimtab.launch._tracebacks import describe_exception


def described(path: Path, code: str) -> dict[str, Any]:
    """Of the exception that ends `code`, run as the file `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(code)
    try:
        exec(compile(code, str(path), "exec"), {"__name__": "__main__"})
    except Exception as error:
        return describe_exception(error)
    raise AssertionError("nothing was raised")


def test_the_line_and_its_source(tmp_path: Path) -> None:
    data = described(tmp_path / "train.py", "def f(x):\n    return 1 / x\n\nf(0)\n")
    assert (data["type"], data["message"]) == ("ZeroDivisionError", "division by zero")
    assert (data["file"], data["line"], data["function"]) == (str(tmp_path / "train.py"), 2, "f")
    assert data["source"] == "return 1 / x"
    assert data["raised_in"] == "train.py:f"


def test_a_librarys_line_is_passed_over(tmp_path: Path) -> None:
    data = described(tmp_path / "train.py", "import json\njson.loads('{')\n")
    assert (data["line"], data["source"]) == (2, "json.loads('{')")
    assert data["raised_in"].startswith("decoder.py:")
    library = tmp_path / "site-packages" / "lib.py"
    library.parent.mkdir()
    library.write_text("def f():\n    raise ValueError\n")
    code = f"import sys\nsys.path.insert(0, {str(library.parent)!r})\nimport lib\nlib.f()\n"
    try:
        data = described(tmp_path / "train.py", code)
    finally:
        sys.path.remove(str(library.parent))
        sys.modules.pop("lib")
    assert (data["line"], data["source"], data["raised_in"]) == (4, "lib.f()", "lib.py:f")


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python does not know where an expression ends")
def test_all_lines_of_an_expression(tmp_path: Path) -> None:
    data = described(tmp_path / "train.py", "x = dict(\n    a=1,\n    b=int('no'),\n)\n")
    assert data["source"] == "b=int('no'),"
    data = described(tmp_path / "train.py", "if True:\n    x = int(\n        'no',\n    )\n")
    assert data["source"] == "x = int(\n    'no',\n)"


def test_code_without_a_file_is_placed_where_it_was_run(tmp_path: Path) -> None:
    data = described(tmp_path / "train.py", "code = '''\nx = 1\n1 / 0\n'''\nexec(code)\n")
    assert (data["file"], data["line"], data["source"]) == (str(tmp_path / "train.py"), 5, "exec(code)")


def test_code_that_has_no_file_at_all_is_said_to_have_none() -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        eval("1 / 0")
    error = caught.value.with_traceback(caught.value.__traceback__.tb_next)  # type: ignore[union-attr]
    data = describe_exception(error)
    assert (data["file"], data["line"], data["source"]) == ("<string>", 1, "")


def test_an_exception_that_was_never_raised() -> None:
    data = describe_exception(ValueError("x"))
    assert (data["file"], data["line"], data["source"], data["raised_in"]) == ("", None, "", "")


def test_of_a_long_message_both_ends_are_kept() -> None:
    message = describe_exception(ValueError("begin" + "x" * 100_000 + "end"))["message"]
    assert message.startswith("begin")
    assert message.endswith("end")
    assert len(message) < 5000


def test_the_line_of_a_function_that_tensorflow_was_tracing(tmp_path: Path) -> None:
    """Its traceback holds generated code only; the message holds the stack of the script's."""
    file = tmp_path / "model.py"
    file.write_text("def step(x):\n    return model(x)\n")
    message = (
        f'in user code:\n\n    File "{file}", line 2, in step  *\n        return model(x)\n'
        '    File "/lib/site-packages/keras/layer.py", line 9, in handler  **\n        raise e\n\n    ValueError: no\n'
    )
    data = describe_exception(ValueError(message))
    assert (data["file"], data["line"], data["function"]) == (str(file), 2, "step")
    assert data["source"] == "return model(x)"
