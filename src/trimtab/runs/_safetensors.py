"""Reads safetensors files with NumPy alone: header and numbers, nothing that could be code.

The format: 8 bytes with the length of the header, a JSON header (name -> dtype, shape, place), the
numbers. bfloat16, which NumPy lacks, is widened to float32.
"""

from __future__ import annotations

import json
import math
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

MAX_HEADER_BYTES = 16 << 20
_DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "|i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "|u1", "BOOL": "|b1",
}  # fmt: skip


def read_tensors(path: Path) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    """Name and array of each tensor, in order of the names; of a dtype that NumPy lacks, none.

    Raises OSError where the file cannot be read, ValueError where it is no such file or a damaged one.
    """
    size = os.path.getsize(path)
    header, start = _header(path, size)
    for name in sorted(header):
        entry = header[name]
        if name != "__metadata__" and isinstance(entry, dict) and entry.get("dtype") in _DTYPES:
            yield name, _array(path, entry, start, size)


def _header(path: Path, size: int) -> tuple[dict[str, Any], int]:
    with open(path, "rb") as file:
        begin = file.read(8)
        length = struct.unpack("<Q", begin)[0] if len(begin) == 8 else 0
        if not 2 <= length <= min(MAX_HEADER_BYTES, size - 8):
            raise ValueError(f"{path.name} is no safetensors file")
        header = json.loads(file.read(length))
    if not isinstance(header, dict):
        raise ValueError(f"{path.name} is no safetensors file")
    return header, 8 + length


def _array(path: Path, entry: dict[str, Any], start: int, size: int) -> np.ndarray[Any, Any]:
    dtype = np.dtype(_DTYPES[entry["dtype"]])
    try:
        shape = tuple(int(n) for n in entry["shape"])
        begin, end = (int(n) for n in entry["data_offsets"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path.name} is damaged: {error}") from None
    whole = min(shape, default=0) >= 0 and 0 <= begin <= end == begin + math.prod(shape) * dtype.itemsize
    if not whole or start + end > size:
        raise ValueError(f"{path.name} is damaged: a tensor lies outside of it")
    with open(path, "rb") as file:
        file.seek(start + begin)
        values = np.frombuffer(file.read(end - begin), dtype).reshape(shape)
    if entry["dtype"] == "BF16":
        return (values.astype("<u4") << 16).view("<f4")
    return values
