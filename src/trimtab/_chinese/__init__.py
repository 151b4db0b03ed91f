"""Chinese, by the English template of `t`. tests/test_language.py holds every template of the source against this.

Names of troubles and causes, tensors and remedies stay as they are.
"""

from __future__ import annotations

from ._causes import CAUSES
from ._crashes import CRASHES
from ._findings import FINDINGS
from ._guard import GUARD
from ._names import MEASURES as MEASURES
from ._names import NAMES as NAMES
from ._names import UNSEEN as UNSEEN
from ._page import PAGE
from ._replay import REPLAY

CHINESE: dict[str, str] = {**PAGE, **FINDINGS, **CAUSES, **CRASHES, **REPLAY, **GUARD}
