"""Every quantity that a run records: its name, unit and meaning, each defined here and nowhere else.

A table is a set of quantities that share their key. Rows of every table begin with the same key:
which process, which optimizer of it, which step of that optimizer.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class Quantity:
    """One column.

    `dtype` is a NumPy dtype string ("<f4", "<i8", "|b1") or "str". A quantity that was not
    measured in a row is null there, never NaN: a NaN in the record is a NaN of the training.
    """

    name: str
    dtype: str
    unit: str
    doc: str


@dataclass(frozen=True)
class Table:
    """Quantities recorded together. `every_step` is False for what is measured at sampled steps only."""

    name: str
    doc: str
    every_step: bool
    quantities: tuple[Quantity, ...]

    @cached_property
    def _by_name(self) -> dict[str, Quantity]:
        return {quantity.name: quantity for quantity in self.quantities}

    def __getitem__(self, name: str) -> Quantity:
        return self._by_name[name]


KEY = (
    Quantity("process", "<i2", "", "Index of the process in run.json's `processes`; the rank where there are ranks."),
    Quantity("optimizer", "<i2", "", "Index of the optimizer in that process, in order of first step."),
    Quantity("step", "<i8", "steps", "Steps this optimizer had taken before this one: the first step is 0."),
)

STEPS = Table(
    "steps",
    "One row per optimizer step.",
    True,
    (
        *KEY,
        Quantity("time", "<f8", "seconds", "Since the run began, when the optimizer's step began."),
        Quantity(
            "loss",
            "<f8",
            "",
            "Mean over the step's backward passes of the value differentiated, a loss "
            "scaler's factor and a constant divisor undone. Null where no backward pass was seen.",
        ),
        Quantity("backwards", "<i4", "", "Backward passes since the previous step."),
        Quantity("lr", "<f8", "", "Learning rate of the first parameter group."),
        Quantity("lr_max", "<f8", "", "Largest learning rate of any parameter group."),
        Quantity("grad_norm", "<f8", "", "2-norm of all gradients as the optimizer got them."),
        Quantity(
            "grad_norm_raw",
            "<f8",
            "",
            "The same before the script's own clip and before any policy; equal to grad_norm where none was seen.",
        ),
        Quantity("nonfinite", "<i4", "tensors", "Parameter tensors whose raw gradient holds a NaN or an infinity."),
        Quantity("evaluations", "<i4", "", "Calls of the closure within the step; 0 for a step without closure."),
        Quantity("skipped", "|b1", "", "The step was withheld, by a gradient scaler or by a policy."),
        Quantity("loss_scale", "<f4", "", "Factor of the gradient scaler; 1 without."),
        Quantity("sampled", "|b1", "", "The dearer quantities were measured at this step."),
        Quantity("watch_seconds", "<f4", "seconds", "Time that measuring took since the previous step."),
    ),
)

TENSORS = Table(
    "tensors",
    "One row per optimizer step and parameter tensor that had a gradient.",
    True,
    (
        *KEY,
        Quantity("tensor", "str", "", "Name of the parameter in its model."),
        Quantity("grad_norm", "<f4", "", "2-norm of the gradient as the optimizer got it."),
        Quantity(
            "grad_norm_raw", "<f4", "", "2-norm before the script's own clip and any policy; null where none was seen."
        ),
        Quantity("grad_max", "<f4", "", "Largest |g| as the optimizer got it (sampled)."),
        Quantity(
            "grad_nonfinite",
            "<i8",
            "entries",
            "NaN and infinite entries of the raw gradient (sampled, and at the first non-finite step).",
        ),
        Quantity("grad_zeros", "<i8", "entries", "Entries that are exactly zero (sampled)."),
        Quantity("weight_norm", "<f4", "", "2-norm of the parameter before the step (sampled)."),
        Quantity(
            "update_norm",
            "<f4",
            "",
            "2-norm of what the step changed (sampled; null where the tensor was outside the byte budget this time).",
        ),
        Quantity(
            "g2_over_v",
            "<f4",
            "",
            "Root of mean(g^2 / v_hat), v_hat the bias-corrected second moment of an "
            "Adam-like optimizer after the step (sampled). Source: Wortsman et al. 2023, arXiv:2304.13013, sec. 3.4.",
        ),
        Quantity(
            "twin_units",
            "<f4",
            "share",
            "Units (rows of the first axis) whose incoming weights equal those of another unit to 1e-6 of the "
            "tensor's root mean square; null for tensors of fewer than two axes (sampled).",
        ),
        Quantity(
            "lost_updates",
            "<f4",
            "share",
            "Of the entries with a gradient, those that the step left exactly as they were (sampled; null like "
            "update_norm).",
        ),
    ),
)

MODULES = Table(
    "modules",
    "One row per sampled step and call of a module without children, in order of the forward pass.",
    False,
    (
        *KEY,
        Quantity("call", "<i4", "", "Position of the call in the forward pass, from 0."),
        Quantity("module", "str", "", "Name of the module in its model."),
        Quantity("kind", "str", "", "Class of the module."),
        Quantity("weighted", "|b1", "", "It owns a parameter of two or more axes (Linear, Conv, LSTM...)."),
        Quantity("elements", "<i8", "entries", "Size of the output."),
        Quantity("in_rms", "<f4", "", "Root mean square of the first input, where it is a float tensor."),
        Quantity("in_max", "<f4", "", "Largest |x| of the first input."),
        Quantity(
            "in_spread",
            "<f4",
            "",
            "Root mean square over the first input's features of the standard deviation across rows, of at most "
            "262,144 entries taken evenly; 0 where every row is the same, null for a single row. Features are channels "
            "(axis 1) of a convolution's input, else the last axis.",
        ),
        Quantity(
            "in_after",
            "str",
            "",
            "The activation that the first input has passed since the weighted operation before, from the autograd "
            'graph: relu, leaky_relu, sigmoid, tanh, gelu, silu, softmax...; "none" for none; null where the input is '
            "data or it cannot be seen.",
        ),
        Quantity("in_dead", "<f4", "share", "Features of the first input that are exactly zero in every row."),
        Quantity(
            "in_saturated",
            "<f4",
            "share",
            "Entries of the first input at which the activation of in_after has a slope under a tenth of its largest "
            "(sigmoid, tanh and their like; null for others).",
        ),
        Quantity("out_rms", "<f4", "", "Root mean square of the output."),
        Quantity("out_max", "<f4", "", "Largest |x| of the output."),
        Quantity("out_zeros", "<f4", "share", "Entries that are exactly zero, of at most 65,536 taken evenly."),
        Quantity("out_spread", "<f4", "", "As in_spread, of the output."),
        Quantity("out_dead", "<f4", "share", "Features of the output that are exactly zero in every row."),
        Quantity(
            "out_saturated",
            "<f4",
            "share",
            "For sigmoid, tanh and their hard forms: entries with a slope under "
            "a tenth of the largest slope, of at most 65,536 taken evenly. Null for other modules.",
        ),
        Quantity(
            "grad_rms",
            "<f4",
            "",
            "Root mean square of the loss's gradient by the output, a loss scaler's factor undone.",
        ),
        Quantity("grad_max", "<f4", "", "Largest |entry| of that gradient."),
    ),
)

LOSSES = Table(
    "losses",
    "One row per sampled step: the loss function, what it was given, and what chance would give.",
    False,
    (
        *KEY,
        Quantity(
            "kind",
            "str",
            "",
            "One of cross_entropy, nll, bce, bce_logits, mse, l1, smooth_l1, huber, kl_div or unknown.",
        ),
        Quantity("value", "<f8", "", "What the loss function returned; null if not a single number."),
        Quantity("rows", "<i8", "", "Predictions that the loss averages over."),
        Quantity("classes", "<i8", "", "Classes of a classification loss; null for others."),
        Quantity(
            "chance", "<f8", "", "Loss of the best constant prediction on all targets seen so far. Null if unknown."
        ),
        Quantity("target_min", "<f8", "", "Least target (class index or value)."),
        Quantity("target_max", "<f8", "", "Largest target."),
        Quantity("target_mean", "<f8", "", "Mean of the targets; null for class indices."),
        Quantity("target_std", "<f8", "", "Standard deviation of the targets; null for class indices."),
        Quantity("output_min", "<f8", "", "Least output given to the loss."),
        Quantity("output_max", "<f8", "", "Largest output given to the loss."),
        Quantity("output_mean", "<f8", "", "Mean output."),
        Quantity("output_std", "<f8", "", "Standard deviation over all outputs."),
        Quantity(
            "output_spread",
            "<f8",
            "",
            "Root mean square over features of the standard deviation across "
            "rows: 0 where every input gets the same output.",
        ),
        Quantity("output_zeros", "<f4", "share", "Outputs that are exactly zero."),
        Quantity(
            "output_after",
            "str",
            "",
            "The activation that the outputs have passed since the last weighted operation, named as in_after.",
        ),
        Quantity(
            "accuracy",
            "<f4",
            "share",
            "Rows whose largest output is at their label (classes), or whose output lies on their target's side (bce).",
        ),
        Quantity("labels_seen", "<i8", "", "Different class labels among all seen so far; null for values."),
        Quantity(
            "labels_beyond",
            "<f8",
            "share",
            "Rows whose label is none of the classes; null where such rows may be masked in the loss.",
        ),
        Quantity(
            "target_values",
            "<i8",
            "",
            "Different targets in this batch, of at most 65,536 entries taken evenly; null for class indices.",
        ),
        Quantity("targets_whole", "|b1", "", "Every target of the batch is a whole number; null for class indices."),
        Quantity("targets_one_hot", "<f4", "share", "Rows of targets that hold one 1 and else 0, of two or more."),
        Quantity(
            "correlation",
            "<f4",
            "",
            "Pearson's, of outputs with targets of the same shape; null for class indices and constant ones.",
        ),
        Quantity("shapes_differ", "|b1", "", "Outputs and targets were both broadcast, as (N, 1) and (N,) are."),
        Quantity(
            "rows_sum_to_one",
            "<f4",
            "share",
            "Rows of outputs that are non-negative and sum to 1: probabilities where logits may be expected.",
        ),
        Quantity(
            "leftover_grad_norm",
            "<f8",
            "",
            "2-norm of the gradients found before the first backward pass of the step: not 0 where "
            "zero_grad is missing.",
        ),
    ),
)

GUARD = Table(
    "guard",
    "One row per step and policy (`--with`, `trimtab.guard`) that changed what the step did.",
    True,
    (
        *KEY,
        Quantity("policy", "str", "", "The policy, as it is typed."),
        Quantity("skipped", "|b1", "", "It withheld the step."),
        Quantity(
            "scale",
            "<f4",
            "",
            "Least factor by which it multiplied a gradient. Null where it withheld the step, acted on something else, "
            "or maps gradients entry by entry, which it does at every step.",
        ),
        Quantity(
            "lr_scale",
            "<f4",
            "",
            "Factor by which it multiplied the learning rate of this step. Null where it did not.",
        ),
        Quantity(
            "back_to",
            "<i8",
            "steps",
            "It has put weights and optimizer state back to what they were before that step. Null where it did not.",
        ),
    ),
)

METRICS = Table(
    "metrics",
    "One row per value that the script or its trainer reported, and per validation pass.",
    False,
    (
        *KEY,
        Quantity("time", "<f8", "seconds", "Since the run began."),
        Quantity("name", "str", "", "Name of the metric."),
        Quantity("value", "<f8", "", "Its value."),
        Quantity(
            "source",
            "str",
            "",
            "One of log (trimtab.log), stdout (--metric), validation, keras, lightning or transformers.",
        ),
    ),
)

EVENTS = Table(
    "events",
    "One row per thing that happened once: a first non-finite value, an exception, something that cannot be seen.",
    False,
    (
        *KEY,
        Quantity("time", "<f8", "seconds", "Since the run began."),
        Quantity(
            "kind",
            "str",
            "",
            "One of nonfinite, exception, unseen, snapshot, validation_rows, old_spelling or trimtab_error.",
        ),
        Quantity("data", "str", "", "What is known of it, as JSON."),
    ),
)

TABLES = {table.name: table for table in (STEPS, TENSORS, MODULES, LOSSES, GUARD, METRICS, EVENTS)}
