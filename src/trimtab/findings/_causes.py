"""The causes that rules name now, a paragraph each: what, once changed, cures a trouble."""

CAUSES: dict[str, str] = {
    "learning-rate-too-high": (
        "Each step overshoots: it goes further than the gradient is worth. On a quadratic, gradient descent "
        "diverges above 2 / curvature. Seen by growth of the loss or the gradient within a few steps, and by "
        "updates of more than a tenth of the weights' own size (healthy: 0.1 % to 0.5 %). Try lr*0.1, then warm-up "
        "or a clip."
    ),
    "learning-rate-too-low": (
        "The weights travel too little within the run to get anywhere: the median update, relative to the weights, "
        "times the number of steps is under 0.02. Try lr*10."
    ),
    "missing-warm-up": (
        "The first steps are taken at full length while the curvature is at its highest and an adaptive optimizer "
        "has seen almost no gradients. Try warmup=100."
    ),
    "wrong-sign": (
        "The loss is maximised, or its least value is minus infinity. It falls for ever, by decades. Look at the "
        "sign of the loss, and for a logarithm or a distance that has no bound."
    ),
    "initial-weights-too-large": (
        "Each layer multiplies the scale of its input by more than 1, which over many layers is exponential. A "
        "weight matrix of standard deviation sqrt(2 / fan in) keeps it under ReLU. Try init=he."
    ),
    "initial-weights-too-small": (
        "Each layer multiplies the scale of its input, and of the gradient on the way back, by less than 1. "
        "PyTorch's default for Linear loses a factor of 0.41 per ReLU layer. Try init=he (ReLU) or init=xavier "
        "(tanh)."
    ),
    "saturating-activation": (
        "Sigmoid and tanh are flat away from 0, and a gradient that passes a flat place is lost. Sigmoid's slope "
        "is at most 0.25, so that ten layers of it lose a million. Try activation=sigmoid>relu."
    ),
    "dying-activation": (
        "Units that answer 0 to every input pass no gradient, and never come back. A step that was too long does "
        "this to a whole layer. Try lr*0.1, or activation=relu>leaky_relu with a fresh start."
    ),
    "depth-without-normalisation": (
        "Nothing holds the scale of the signal as it passes many layers. Normalisation or a skip connection turns "
        "exponential growth or decay into a mild one. Try norm=layer."
    ),
    "unclipped-recurrence": (
        "A recurrent net applies one matrix many times over; where it stretches anything, the gradient grows "
        "exponentially with the length of the sequence, now and then. Try clip=global:1.0."
    ),
    "missing-zero-grad": (
        "Gradients add up over steps, since optimizer.zero_grad() is not called. Seen exactly: the gradient is not "
        "zero when the first backward pass of a step begins."
    ),
    "detached-graph": (
        "The loss does not depend on the parameters that are optimized: .detach(), .item(), numpy() or "
        "torch.no_grad() stands between them. Their gradient is absent or exactly zero."
    ),
    "output-activation-mismatch": (
        "The outputs have passed an activation that the loss applies again, or that cannot reach the targets. "
        "Cross-entropy on probabilities cannot fall under log(1 + (C - 1)/e), 1.46 for ten classes, however good "
        "the model. Give it the scores before softmax."
    ),
    "precision-overflow": (
        "Half precision ends at 65,504 and exp overflows above 11.1 in it (88.7 in single precision). Try "
        "bfloat16, or float32 for that operation."
    ),
    "invalid-operation": (
        "An operation without a finite value or slope at its input: log of 0, sqrt or a norm at 0, a division by "
        "0, 0 times infinity in the branch that `where` leaves out. Keep its argument away from there."
    ),
    "bad-batch": (
        "One batch holds what the others do not: a NaN, an infinity, an outlier. Look at the data of that step."
    ),
    "stale-second-moment": (
        "An adaptive optimizer divides by an average of past squared gradients; a gradient much larger than those "
        "takes a much larger step than the learning rate says. Try clip=global:1.0 or a smaller beta2."
    ),
    "labels-invalid": ("A label lies outside of the classes that the model has, is shifted by one, or is constant."),
    "uninformative-data": (
        "The inputs say nothing about the targets that this model could use, or were shuffled apart."
    ),
    "out-of-memory": ("The process used more memory than there is, or than its device has. Try a smaller batch."),
    "missing-package": ("The script imports a package that is not installed in this environment."),
}
