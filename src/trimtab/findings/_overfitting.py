"""overfitting: the validation loss has passed its minimum and rises while the training loss falls on."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from .._language import t
from ._carried import CARRIED, ERRORS, medians_of_three, nothing_carries, perhaps_nothing_carries
from ._finding import SEVERITIES, Finding
from ._history import Array, Floats, History, Track
from ._levels import noise, trend
from ._progress import chance_error, progress
from ._reported import reported
from ._text import number
from ._trouble import Trouble
from .causes import Case

ENOUGH = 6  # evaluations
AGO = 3  # evaluations since the least one, and a sixth of them all
CLEAR = 4.0  # standard deviations from one evaluation to the next
SMALL = 0.1  # share of what validation had gained
HALF = 0.5
RISES = 1.6  # Mann-Kendall z since the least (one-sided p of 0.05); on few evaluations it cannot be much more
FALLS = 0.9  # of the training loss at the time of the least validation loss is left at most
GAP = 0.5  # of the validation loss
MUCH = 0.2  # of the first validation loss is still there: below, a gap is not worth naming
CARRIES_LITTLE = 0.25  # of training's gain over chance is all that validation has at the end
COMPARED = 32  # rows of validation that differ, before anything is said of where they come from
FEW_FOUND = 5
ALL = 0.9
AS_OFTEN = 0.6  # as a row of training is found among those that were looked at
CAUSES = (
    "too-much-dropout",
    "too-much-weight-decay",
    "inputs-unscaled",
    "over-capacity",
    "uninformative-data",
)
NAME = re.compile(
    r"(^|[_/. -])(val|valid|validation|eval|evaluation|test|dev|heldout|held_out)([_/. -]|$|(?=loss))", re.I
)
LOSS = re.compile(r"loss|nll|cross_?entropy|(^|[_/. -])(mse|mae)", re.I)


@dataclass(frozen=True)
class Evaluations:
    """A validation loss: `steps` is the last optimizer step before each value."""

    name: str
    steps: Array
    values: Floats


@dataclass(frozen=True)
class Rise:
    best: int  # place of the least evaluation
    low: float
    high: float
    lost: float  # share of what validation had gained until then


def overfitting(history: History) -> Iterator[Finding]:
    track = history.lead
    if history.live or history.adversarial or track is None or track.finite_loss.min(initial=0) < 0:
        return
    if math.isfinite(progress(history).peaks):
        return  # a loss that is thrown up again and again says nothing of what was learned: see oscillating-loss
    if np.max(track.series.losses.get("labels_seen", ()), initial=0) == 1:
        return  # one label is learned at once, and nothing can be said of others
    found = list(_trained_on(history, track))
    found += [
        finding
        for evaluations in validation_losses(history, track)
        if (finding := _judge(history, track, evaluations)) is not None
    ]
    if found:
        yield max(found, key=lambda finding: SEVERITIES.index(finding.severity))


def validation_losses(history: History, track: Track) -> list[Evaluations]:
    """The losses of validation reported while this part trained, by name."""
    metrics = history.record.metrics()
    if not metrics or not len(metrics.get("name", ())):
        return []
    times, end = np.asarray(metrics["time"]), _end(history, track)
    own = (np.asarray(metrics["process"]) == track.process) & (times >= track.time[0]) & (times <= end)
    own &= np.isfinite(np.asarray(metrics["value"], dtype=np.float64))
    found = []
    for name in dict.fromkeys(map(str, np.asarray(metrics["name"])[own])):
        if NAME.search(name) and LOSS.search(name):
            rows = np.flatnonzero(own & (np.asarray(metrics["name"]) == name))
            rows = rows[np.argsort(times[rows], kind="stable")]
            steps = np.searchsorted(track.time, times[rows], side="right") - 1
            found.append(Evaluations(name, track.step[steps], np.asarray(metrics["value"], dtype=np.float64)[rows]))
    return found


def _end(history: History, track: Track) -> float:
    """When the next part begins: the last evaluation of a part comes after its last step."""
    own = {(other.process, other.optimizer) for other in history.tracks}
    later = [
        float(series.steps["time"][0])
        for series in history.record.series()
        if history.one_of_many
        and series.process == track.process
        and (series.process, series.optimizer) not in own
        and series.steps["time"][0] > track.time[-1]
    ]
    return min(later, default=float("inf"))


def rise_of(values: Floats, start: float = -np.inf) -> Rise | None:
    """How far a validation loss ended above its least; None where that is within its noise, or too short ago.

    End and least are medians of three, so that neither a lucky evaluation nor a bad one decides. `start`: where the
    training began, which the first evaluation may come long after.
    """
    if len(values) < ENOUGH:
        return None
    smooth = medians_of_three(values)
    best = int(np.argmin(smooth))
    since = values[best + 1 :]
    low, high = float(smooth[best]), float(np.median(values[-3:]))
    gained = max(start, float(values[:3].max())) - low
    ago = len(smooth) - 1 - best
    if ago < max(AGO, len(values) / 6) or values[-3:].min() - low <= CLEAR * noise(values) or not gained > 0:
        return None
    steady = trend(since) >= RISES if len(since) >= 5 else bool(np.all(np.diff(since) > 0))
    still = high > 0.5 * (low + float(np.max(smooth[best:])))
    return Rise(best + 1, low, high, (high - low) / gained) if steady and still else None


def _judge(history: History, track: Track, evaluations: Evaluations) -> Finding | None:
    if (nothing := _nothing_carries_over(history, track, evaluations)) is not None:
        return nothing
    reference = progress(history).reference
    rise = rise_of(evaluations.values, reference if np.isfinite(reference) else -np.inf)
    gap = _gap(history, track, evaluations)
    if rise is None or (rise.lost < SMALL and gap is not None and gap.severity != "note"):
        return gap
    return _risen(history, track, evaluations, rise)


def _risen(history: History, track: Track, evaluations: Evaluations, rise: Rise) -> Finding | None:
    """It rose again while the training loss fell on."""
    before, after = _training(track, int(evaluations.steps[rise.best]))
    if not after < FALLS * before:
        return None  # the training loss rises too, or was not seen: something else happened
    first = int(evaluations.steps[rise.best])
    return reported(
        Case("overfitting", history, track, first, track.last_step),
        _severity(rise.lost),
        t(
            "{name} was least at step {step} ({low}) and rose to {high}, while the training loss fell from {before} "
            "to {after}: {lost} of what validation had gained is lost",
            name=evaluations.name,
            step=first,
            low=number(rise.low),
            high=number(rise.high),
            before=number(before),
            after=number(after),
            lost=f"{rise.lost:.0%}",
        ),
        [history.place(track)] if history.several else [],
        {
            "metric": evaluations.name,
            "least": rise.low,
            "last": rise.high,
            "least_at_step": first,
            "share_lost": rise.lost,
            "training_loss_then": before,
            "training_loss_last": after,
            "threshold": SMALL,
        },
        CAUSES,
    )


def _severity(lost: float) -> str:
    return "serious" if lost >= HALF else "warning" if lost >= SMALL else "note"


def _training(track: Track, step: int) -> tuple[float, float]:
    """The training loss about the step and at the end: medians of as many steps each, a tenth of the run."""
    values = track.finite_loss
    size = max(3, len(values) // 10)
    steps = track.step[track.finite_rows]
    row = int(np.searchsorted(steps, step, side="right"))
    then = values[max(0, row - size) : row + 1]
    return (float(np.median(then)), float(np.median(values[-size:]))) if len(values) else (np.nan, np.nan)


def _nothing_carries_over(history: History, track: Track, evaluations: Evaluations) -> Finding | None:
    """The training loss came down from chance, and validation never did."""
    state, values = progress(history), evaluations.values
    if track.summed_rows > 1 or len(values) < ENOUGH:
        return None
    certain = nothing_carries(state, values)
    if not certain and not perhaps_nothing_carries(track, state, values):
        return None
    best = float(medians_of_three(values).min())
    return reported(
        Case("overfitting", history, track, int(evaluations.steps[0]), track.last_step),
        "serious" if certain else "warning",
        t(
            "{name} was never better than chance ({best} at its best, chance is {chance}), while the training loss "
            "came down to {after}: what is learned holds for the training data alone",
            name=evaluations.name,
            best=number(best),
            chance=number(state.reference),
            after=number(state.last),
        ),
        [history.place(track)] if history.several else [],
        {
            "metric": evaluations.name,
            "least": best,
            "chance": state.reference,
            "training_loss_last": state.last,
            "threshold": CARRIED,
        },
        CAUSES,
    )


def _trained_on(history: History, track: Track) -> Iterator[Finding]:
    """Rows of validation that are rows of training. A script may mean that, and evaluate on both; but not where the
    rows were handed over as validation data."""
    newest = {str(event.data.get("name")): event for event in history.events_of("validation_rows", track)}
    for name, event in newest.items():
        found, compared, trained = (int(event.data.get(key) or 0) for key in ("trained_on", "compared", "trained"))
        again = float(event.data.get("again") or "nan")
        if compared < COMPARED or found < FEW_FOUND:
            continue
        every = found >= ALL * compared or found >= AS_OFTEN * again * compared
        case = Case("overfitting", history, track, event.step, track.last_step)
        says = (
            t("{name} is measured on rows that the model trains on: it says nothing of other data", name=name)
            if every
            else t("{name} is measured in part on rows that the model trains on: on others it is higher", name=name)
        )
        yield reported(
            case,
            "warning" if every and event.data.get("given") else "note",
            says,
            [history.place(track)] if history.several else [],
            {
                "metric": name,
                "trained_on": found,
                "compared": compared,
                "training_rows_known": trained,
                "threshold": FEW_FOUND,
            },
            ("validation-leak",),
        )


def _gap(history: History, track: Track, evaluations: Evaluations) -> Finding | None:
    """Validation stays far above training without rising: a note, unless next to nothing of what was gained holds."""
    values = evaluations.values
    if len(values) < ENOUGH or len(track.finite_loss) < ENOUGH or not values.min() > 0:
        return None
    reference = progress(history).reference
    start, end = float(np.fmax(values[:3].max(), reference)), float(np.median(values[-3:]))
    after = float(np.median(track.finite_loss[-max(3, len(track.finite_loss) // 10) :]))
    if not (after > 0 and end - after > GAP * end and end > MUCH * start):
        return None
    least = reference * (1 - ERRORS * chance_error(track))
    little = least - end < CARRIES_LITTLE * (least - after) and progress(history).by_chance
    return reported(
        Case("overfitting", history, track, int(evaluations.steps[0]), track.last_step),
        "warning" if little else "note",
        t(
            "{name} ends at {end} and the training loss at {after}: what was learned holds for the training data "
            "more than for others; it does not rise",
            name=evaluations.name,
            end=number(end),
            after=number(after),
        ),
        [history.place(track)] if history.several else [],
        {"metric": evaluations.name, "last": end, "training_loss_last": after, "threshold": GAP},
        CAUSES,
    )


TROUBLE = Trouble(
    name="overfitting",
    summary="The validation loss never comes down, or has passed its minimum and rises, while the training loss goes "
    "on falling.",
    measures="Every validation loss that the script, its trainer or trimtab reported (its name has val, valid, eval, "
    "test, dev or held_out in it, and loss, nll, mse or mae): its minimum and its end, each the median of three "
    "evaluations, and Mann-Kendall's test on what came after the minimum. The training loss at both times. What was "
    "lost since, as a share of what validation had gained until then. Also whether validation was ever better than "
    "chance, where training is. And whether rows of validation are rows of training, to the bit: all that fit is given "
    "as arrays, of other trainings 256 rows of a validation's first batch among those of the sampled steps.",
    hurts="The model learns the training data by heart: on other data it was better before, or never good.",
    is_not=(
        f"Fewer than {ENOUGH} evaluations, or a minimum that is too recent.",
        "The noise of a small validation set.",
        "A validation loss that stays far above the training loss without rising: a note, unless less than "
        f"{CARRIES_LITTLE:.0%} of what training gained over chance holds for it.",
        f"A rise that loses less than {SMALL:.0%} of what was gained: a note, unless such a gap is there too.",
        f"A training loss that has not fallen by {1 - FALLS:.0%} meanwhile: something else happened.",
        "A rise that was over by the end, as where a model generalises late.",
        "A loss on training rows that the script may want, beside that of others: a note. Only rows that were handed "
        "over as validation data are a warning.",
    ),
    threshold=f"The minimum at least {AGO} evaluations and a sixth of them all ago; a rise of {CLEAR:g} standard "
    f"deviations of the change from one evaluation to the next. A warning from {SMALL:.0%} of the gain on, serious "
    f"from {HALF:.0%} on; serious too where validation was never more than {CARRIED:.0%} better than chance, and by "
    "less than a quarter of what training gained. Where chance is known from few targets only, that is a warning, and "
    f"counts if it holds against {ERRORS:g} standard errors less than chance and validation never came down from its "
    "first value. Set by hand; how often it is right is measured by "
    "studies/calibration.",
    causes=(*CAUSES, "validation-leak"),
    remedies="Keep the weights of the minimum (early stopping); dropout=0.1, weight_decay=0.01, more data, a smaller "
    "model.",
    rule=overfitting,
    sources=("Prechelt 1998, Early Stopping - But When? (the loss of generalisation)",),
    leads_to=frozenset(),
)
