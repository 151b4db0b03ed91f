"""A training that is built and ready to run, in the form in which a fault can still change it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

from torch import Tensor, nn

Loss = Callable[[Tensor, Tensor], Tensor]
Answer = Callable[[Tensor], Tensor]


@dataclass
class Settings:
    """The flags of one training: those of the examples, and the switches that a script has in its loop."""

    family: str
    seed: int
    steps: int
    depth: int
    width: int
    activation: str
    init: str
    norm: str
    optimizer: str
    lr: float
    batch_size: int
    clip: str = "none"
    weight_decay: float | None = None
    schedule: str = "none"
    augment: str = "none"
    dropout: float = 0.0
    label_noise: float = 0.0
    loss: str = "own"
    validations: int = 8
    zero_grad: bool = True
    dtype: str = "float32"
    """float32, bfloat16 (of the weights) or autocast (of the forward pass)."""
    frozen: int = 0
    """Layers, from the first, that do not train, as in fine-tuning."""
    accumulate: int = 1
    """Backward passes per step."""
    ranks: int = 1
    """Processes that train together, each on batches of its own, their gradients averaged."""
    rank: int = 0

    def with_flags(self, flags: dict[str, Any]) -> Settings:
        unknown = flags.keys() - {f.name for f in fields(self)}
        if unknown:
            raise ValueError(f"no such settings: {sorted(unknown)}")
        return Settings(**{**vars(self), **flags})


@dataclass
class Task:
    """Model, data and loss.

    `answer` maps rows of inputs to outputs; `loss` takes outputs and targets; `gain` maps outputs and targets to the
    share won of what there is to win over the best constant answer (1 is perfect, 0 chance). `train` and
    `held_out` are (inputs, targets) as the script has them, `truth` the targets of `held_out` before any fault.
    `features`: the float tensors that hold the inputs, for faults that scale them in place.
    """

    model: nn.Module
    answer: Answer
    loss: Loss
    gain: Callable[[Tensor, Tensor], float]
    train: tuple[Tensor, Tensor]
    held_out: tuple[Tensor, Tensor]
    truth: Tensor
    kind: str  # classes, values or binary
    features: list[Tensor] = field(default_factory=list)
    prepare: Callable[[Tensor], Tensor] = lambda x: x
    disturb: Callable[[int, Tensor, Tensor], tuple[Tensor, Tensor]] = lambda step, x, y: (x, y)
    parameters: Callable[[], list[nn.Parameter]] | None = None
    """What the script gives its optimizer; None for all that the model has."""
    synchronise: Callable[[], None] = lambda: None
    """Called between the backward pass and the step."""
