"""Judgements on a run, drawn from its record alone. One file per trouble; `TROUBLES` lists them.

To add one: a file with its rule and its `TROUBLE`, a line in `TROUBLES`, and rows in tests/findings.
The order is that of cause before effect where two begin at the same step.
"""

from __future__ import annotations

from . import (
    _constant_output,
    _crash,
    _dead_units,
    _diverging_loss,
    _exploding_gradient,
    _idle_parameter,
    _ignored_setting,
    _loss_spike,
    _non_finite,
    _oscillating_loss,
    _overfitting,
    _rank_divergence,
    _saturated_units,
    _slow_loss,
    _stalled_loss,
    _vanishing_gradient,
)
from ._crash import crash_line as crash_line
from ._crash import crash_words as crash_words
from ._finding import OUTCOMES as OUTCOMES
from ._finding import SEVERITIES as SEVERITIES
from ._finding import Cause as Cause
from ._finding import Finding as Finding
from ._finding import Guarded as Guarded
from ._finding import Verdict as Verdict
from ._finding import at_least as at_least
from ._finding import plain as plain
from ._history import History as History
from ._history import RecordLike as RecordLike
from ._history import SeriesLike as SeriesLike
from ._history import Track as Track
from ._judge import judge_with
from ._judge import with_alarms as with_alarms
from ._parts import parts as parts
from ._progress import Progress as Progress
from ._progress import progress as progress
from ._text import number as number
from ._text import plural as plural
from ._trouble import Trouble as Trouble
from ._unseen import unseen as unseen
from .causes import KNOWN

CAUSES: dict[str, str] = {name: cause.text for name, cause in KNOWN.items()}
TROUBLES: tuple[Trouble, ...] = (
    _rank_divergence.TROUBLE,
    _saturated_units.TROUBLE,
    _vanishing_gradient.TROUBLE,
    _exploding_gradient.TROUBLE,
    _loss_spike.TROUBLE,
    _diverging_loss.TROUBLE,
    _non_finite.TROUBLE,
    _oscillating_loss.TROUBLE,
    _dead_units.TROUBLE,
    _idle_parameter.TROUBLE,
    _constant_output.TROUBLE,
    _stalled_loss.TROUBLE,
    _slow_loss.TROUBLE,
    _overfitting.TROUBLE,
    _ignored_setting.TROUBLE,
    _crash.TROUBLE,
)


def judge(record: RecordLike, *, live: bool = False) -> Verdict:
    """The verdict on a run: its outcome, its troubles with their consequences, and what was compared with what.

    Pure: the record alone decides. `live` asks for what is certain enough to interrupt someone
    while the training still runs; it costs under 20 ms at 100,000 steps.
    """
    return judge_with(TROUBLES, record, live=live)
