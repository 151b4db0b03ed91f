"""Reading a black box: summaries of tensors, and files that are damaged or lie."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest

from trimtab.runs._blackbox import BlackBox, NoBlackBoxError, summary_of
from trimtab.runs._safetensors import read_tensors


def written(path, header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def test_every_dtype_that_numpy_has_comes_back(tmp_path):
    from safetensors.numpy import save_file

    dtypes = ["f8", "f4", "f2", "i8", "i4", "u1", "?"]
    tensors = {f"t{i}": np.arange(6).reshape(2, 3).astype(d) for i, d in enumerate(dtypes)}
    save_file(tensors, tmp_path / "x.safetensors")
    found = dict(read_tensors(tmp_path / "x.safetensors"))
    assert found.keys() == tensors.keys()
    for name, values in tensors.items():
        np.testing.assert_array_equal(found[name], values)


def test_bfloat16_is_widened(tmp_path):
    values = np.array([1.5, -2.0, np.inf], "<f4")
    half = (values.view("<u4") >> 16).astype("<u2").tobytes()
    file = written(tmp_path / "x", {"a": {"dtype": "BF16", "shape": [3], "data_offsets": [0, 6]}}, half)
    np.testing.assert_array_equal(dict(read_tensors(file))["a"], values)


@pytest.mark.parametrize(
    ("header", "data"),
    [
        ({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}, b"1234"),
        ({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}, b"12345678"),
        ({"a": {"dtype": "F32", "shape": [-2, -1], "data_offsets": [0, 8]}}, b"12345678"),
        ({"a": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}}, b""),
        ({"a": {"dtype": "F32", "data_offsets": [0, 4]}}, b"1234"),
        ({"a": {"dtype": "F32", "shape": "x", "data_offsets": None}}, b"1234"),
        ([1, 2], b""),
        (b"not JSON", b""),
    ],
)
def test_a_damaged_file_is_said_and_nothing_is_read_from_outside_of_it(tmp_path, header, data):
    (tmp_path / "blackbox").mkdir()
    (tmp_path / "blackbox/event.json").write_text('{"kind": "nonfinite"}')
    written(tmp_path / "blackbox/weights.safetensors", header, data)
    box = BlackBox(tmp_path)
    assert box.summaries["weights"] == []
    assert box.damage


@pytest.mark.parametrize("text", ["", "[]", "{", None])
def test_a_run_without_an_event_has_no_black_box(tmp_path, text):
    if text is not None:
        (tmp_path / "blackbox").mkdir()
        (tmp_path / "blackbox/event.json").write_text(text)
    with pytest.raises(NoBlackBoxError, match="no black box"):
        BlackBox(tmp_path)


def test_fields_of_an_event_that_are_not_what_we_write_are_left_out(tmp_path):
    (tmp_path / "blackbox").mkdir()
    event = {"kind": "nonfinite", "batch": [1], "failed_step": "3", "tensors": [1, None], "forward": "x", "more": 1}
    (tmp_path / "blackbox/event.json").write_text(json.dumps(event))
    assert BlackBox(tmp_path).event == {"kind": "nonfinite", "tensors": ["1", "None"]}


def test_rows_of_note_are_named():
    values = np.random.default_rng(0).normal(size=(32, 4)).astype("f4")
    values[3, 1], values[7, 0], values[20] = np.nan, np.inf, 1e3
    summary = summary_of("x", values, rows=True)
    assert (summary.nonfinite, summary.nonfinite_rows, summary.far_rows) == (2, [3, 7], [20])
    assert summary.largest == 1e3


@pytest.mark.parametrize("values", [np.array([], "f4"), np.array(3.0), np.full(4, np.nan), np.arange(9)])
def test_odd_tensors_have_a_summary_too(values):
    summary = summary_of("x", values, rows=True)
    assert summary.shape == values.shape
    assert summary.far_rows == []
