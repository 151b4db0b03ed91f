"""Causes of a crash that the exception itself tells; errors/ holds how they are recognised."""

from __future__ import annotations

from ._cause import Case, Clue, KnownCause
from ._process import exception_of
from .errors import known_error


def crash_clue(case: Case, cause: str) -> Clue | None:
    """What the exception of a crash shows for `cause`."""
    if case.trouble != "crash":
        return None
    found = case.history.once("known error", lambda: known_error(exception_of(case.history)))
    return found.clue if found is not None and found.cause == cause else None


def _cause(name: str, text: str) -> KnownCause:
    def look(case: Case) -> Clue | None:
        return crash_clue(case, name)

    return KnownCause(name, text, look)


CAUSES = (
    _cause(
        "old-spelling",
        "The script was written for another version of a library: a name, an argument or a file's ending that it uses "
        "has gone or is called otherwise in the one that is installed. The new spelling is given.",
    ),
    _cause(
        "other-framework",
        "The script does in one framework what belongs to another: `loss.backward()` on a loss of TensorFlow, say.",
    ),
    _cause(
        "shape-mismatch",
        "Arrays that meet have shapes that do not fit: inputs and a layer, outputs and targets, or more rows of "
        "the one than of the other.",
    ),
    _cause(
        "type-mismatch",
        "A value is of another number format or type than what it meets: targets of float where class numbers are "
        "wanted, inputs in double precision for a model in single.",
    ),
    _cause(
        "device-mismatch",
        "Tensors that meet lie on different devices, or the script asks for one that is not there.",
    ),
    _cause(
        "index-out-of-range",
        "An index points beyond the end of a table, such as a word's number beyond the rows of an embedding.",
    ),
    _cause(
        "traced-value",
        "A function that is being compiled (jax.jit, tf.function) asks for a value that is known only when it runs.",
    ),
    _cause(
        "spent-graph",
        "A backward pass needs values that are gone: an earlier backward pass freed them, or an operation in place "
        "overwrote them.",
    ),
)
