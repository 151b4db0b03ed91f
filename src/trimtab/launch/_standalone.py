"""The recorder as a process of its own: `python -m trimtab.launch._standalone DESCRIPTOR OPTIONS`."""

from __future__ import annotations

import json
import os
import socket
import sys

from .._pandas import without_pandas
from ._program import Program
from ._recorder import RecorderOptions, become_recorder, serve


def main(descriptor: str, words: str) -> None:
    without_pandas()
    options = json.loads(words)
    program = Program((sys.executable,), "watch")
    become_recorder()
    listener = socket.socket(fileno=int(descriptor))
    serve(listener, RecorderOptions(program=program, quiet=bool(os.environ.get("TRIMTAB_QUIET")), **options))


if __name__ == "__main__":
    main(*sys.argv[1:])
