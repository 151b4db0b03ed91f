"""What an exception's message tells, out of the wrapping that a framework puts around it."""

from __future__ import annotations

import re

# In this order; each is replaced in what the ones before have left.
_WRAPPING = (
    # colours
    (r"\x1b\[[0-9;]*m", ""),
    # Keras: which layer was called, and with what
    (r"(?s)^Exception encountered when calling [\w.<>]+\(\)\.\s*(.*?)\s*Arguments received by .*$", r"\1"),
    # TensorFlow: the stack of the node of a graph, and its name after the error
    (r"(?s)^Graph execution error:.*\n\n(?!\s)(.*)$", r"\1"),
    (r"(?s)\s*\[\[\{\{node .*$", ""),
    (r"^\{\{function_node [^}]*\}\}\s*", ""),
    (r"\s*\[Op:\w+\](?: name:\s*\S*)?\s*$", ""),
    # TensorFlow: the stack of a function that was being traced
    (r"(?s)^in user code:\n.*\n\n\s+(?:\w+: )?(.*?)\s*$", r"\1"),
)


def telling(message: str) -> str:
    for pattern, kept in _WRAPPING:
        message = re.sub(pattern, kept, message)
    return message


def shortened(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 3] + "..."
