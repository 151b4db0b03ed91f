"""How a watched process and the recorder talk: length-prefixed messages over a local socket.

A message is a JSON header and a payload of raw column bytes. Nothing in it is ever executed or
unpickled. Message types:

    hello     who is speaking: pid, ppid, argv, rank...
    names     strings that later rows refer to by number: {"column", "first", "names"}
    rows      a block of a table: {"table", "rows", "columns": [[name, dtype], ...],
              "values": {name: [...]}}; payload = the columns' bytes, one after the other. A "str"
              column is either numbers into the names of that column ("<i4" in `columns`) or a
              plain list of strings in `values`. A quantity that is absent is null in every row; one
              that is null in some comes with a "|b1" column "NAME?" that is true where it is known.
    describe  {"data": {...}}: facts for this process's entry in run.json
    flush     write everything to disk, then answer {"type": "flushed"}
    end       {"how": ..., ...}: the process takes its leave
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from typing import Any

Header = dict[str, Any]

_PREFIX = struct.Struct("!II")
MAX_MESSAGE_BYTES = 1 << 30


def encode(header: Header, *payload: bytes | memoryview) -> bytes:
    text = json.dumps(header).encode()
    return b"".join((_PREFIX.pack(len(text), sum(len(p) for p in payload)), text, *payload))


class Decoder:
    """Turns the bytes of a stream, in whatever pieces they come, into messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[Header, bytes]]:
        """Yield every message that is complete. Raises ValueError on a stream that is not ours."""
        self._buffer += data
        while len(self._buffer) >= _PREFIX.size:
            header_size, payload_size = _PREFIX.unpack_from(self._buffer)
            if header_size + payload_size > MAX_MESSAGE_BYTES:
                raise ValueError(f"a message of {header_size + payload_size} bytes is not one of ours")
            body = _PREFIX.size + header_size
            if len(self._buffer) < body + payload_size:
                return
            header = json.loads(bytes(self._buffer[_PREFIX.size : body]))
            payload = bytes(self._buffer[body : body + payload_size])
            del self._buffer[: body + payload_size]
            yield header, payload
