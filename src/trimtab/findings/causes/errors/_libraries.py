"""Scripts written for older versions of NumPy, PyTorch, scikit-learn and pandas."""

from __future__ import annotations

from ...._language import t
from ._known_error import KnownError
from ._spellings import OLD, gone, renamed

# The first row that matches counts.
ROWS: tuple[KnownError, ...] = (
    # NumPy
    KnownError(
        OLD,
        "AttributeError",
        r"^`np\.(?P<old>\w+)` was removed in the NumPy 2\.0 release\. Use `np\.(?P<new>\w+)`",
        lambda g: renamed({"old": f"numpy.{g['old']}", "new": f"numpy.{g['new']}"}),
        turn=r"(?<=\w)\.%(old)s\b",
        into=".%(new)s",
        tries=("np.%(new)s",),
    ),
    # PyTorch
    KnownError(
        OLD,
        "UnpicklingError",
        r"^Weights only load failed\.",
        lambda g: t(
            "`torch.load` reads tensors only unless told otherwise; this file holds other objects too, "
            "and loading those runs whatever code is in it"
        ),
        turn=r"\btorch\.load\(([^()]*)\)",
        into=r"torch.load(\1, weights_only=False)",
        tries=("torch.load(path, weights_only=False)",),
    ),
    KnownError(
        OLD,
        "IndexError",
        r"^invalid index of a 0-dim tensor",
        lambda g: t("a tensor of a single number has no entries to choose from"),
        turn=r"([A-Za-z_][\w.]*?)(?:\.data)?\[0\]",
        into=r"\1.item()",
        tries=("loss.item()",),
    ),
    KnownError(
        OLD,
        "AttributeError",
        r"^'_\w+DataLoaderIter' object has no attribute 'next'",
        lambda g: renamed({"old": "iterator.next()", "new": "next(iterator)"}),
        turn=r"([A-Za-z_][\w.]*(?:\([^()]*\))?)\.next\(\)",
        into=r"next(\1)",
        tries=("next(iterator)",),
    ),
    KnownError(
        OLD,
        "TypeError",
        r"^\w+\.__init__\(\) got an unexpected keyword argument '(?P<old>verbose)'",
        lambda g: t("a schedule of the learning rate has no `{old}` any more", old=g["old"]),
        line=r"\b(?:\w*LR\w*|OneCycleLR)\(",
        turn=r",\s*verbose\s*=\s*\w+(?=\s*[,)])",
        into="",
        tries=("scheduler.get_last_lr()",),
    ),
    *(
        KnownError(
            OLD,
            "RuntimeError",
            r"^This function was deprecated since version 1\.9 and is now removed",
            renamed,
            line=rf"\b(?P<old>torch\.{old})\(",
            names={f"torch.{old}": f"torch.linalg.{new}"},
            tries=(f"torch.linalg.{code}",),
        )
        for old, new, code in (
            ("solve", "solve", "solve(A, B)"),
            ("symeig", "eigh", "eigh(A)"),
            ("eig", "eig", "eig(A)"),
            ("lstsq", "lstsq", "lstsq(A, B).solution"),
            ("matrix_rank", "matrix_rank", "matrix_rank(A)"),
        )
    ),
    # scikit-learn and pandas
    KnownError(
        OLD,
        "TypeError",
        r"^OneHotEncoder\.__init__\(\) got an unexpected keyword argument '(?P<old>sparse)'",
        renamed,
        names={"sparse": "sparse_output"},
        turn=r"\bsparse(?=\s*=)",
        into="sparse_output",
        tries=("OneHotEncoder(sparse_output=False)",),
    ),
    KnownError(
        OLD,
        "AttributeError",
        r"^'(?:DataFrame|Series)' object has no attribute '(?P<old>ix|as_matrix)'",
        renamed,
        names={"ix": "loc", "as_matrix": "to_numpy"},
        turn=r"(?<=[\w)\]])\.%(old)s\b",
        into=".%(new)s",
        tries=("frame.%(new)s",),
    ),
    KnownError(
        OLD,
        "AttributeError",
        r"^'DataFrame' object has no attribute 'append'",
        lambda g: gone({"old": "DataFrame.append"}),
        tries=("pd.concat([frame, other])",),
    ),
)
