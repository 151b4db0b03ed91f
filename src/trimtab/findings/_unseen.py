"""What could not be measured in a run, and why, as the record tells it."""

from __future__ import annotations

from .._language import described
from ._history import History, RecordLike


def unseen(record: RecordLike) -> list[str]:
    """A sentence for each thing that was not seen, each once though several processes say it."""
    events = History(record, ()).events_of("unseen")
    sentences = []
    for event in events:
        what, why = (str(event.data.get(key) or "") for key in ("what", "why"))
        said = why if what == "no step" or not what else f"{what}: {why[:1].lower()}{why[1:]}".rstrip(": ")
        sentences.append(described(what, said))
    return list(dict.fromkeys(filter(None, sentences)))
