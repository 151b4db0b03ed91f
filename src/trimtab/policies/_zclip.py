"""clip=zclip: what stands out from the running mean is clipped the more, the farther out it is."""

from __future__ import annotations

from ._policy import Decision, Policy, State, Vitals, global_norm, limit, never, protected
from ._settings import fraction, positive, text_of, whole
from ._xp import Namespace


def clip_zclip(threshold: float = 2.5, alpha: float = 0.97, warm_up: int = 25) -> Policy:
    """Clip the whole gradient if its norm stands out from the running mean of norms.

    n is the global norm, mu and s the running mean and standard deviation, z = (n - mu) / (s + 1e-6); where
    z > threshold,

        n* = mu + threshold^2 s / z,   g <- g * min(1, n* / (n + 1e-6))

    else n* = n. Then mu <- alpha mu + (1 - alpha) n* and s^2 <- alpha s^2 + (1 - alpha) (n* - mu)^2, with the new mu.
    In the first `warm_up` steps nothing is clipped, and mu and s are their mean and standard deviation.

    Source: Kumar et al. 2025, arXiv:2504.02507, section 3, with its constants; epsilon and the order of updates from
    the authors' code.
    Departures: their code also clips to a global norm of 1: put `clip=global:1.0` behind this for that. Steps that are
    not finite are skipped and enter no statistic. It is blind in its warm-up: put `skip=spike` before it.
    """
    positive("threshold", threshold)
    fraction("alpha", alpha)
    warm_up = whole("warm_up", warm_up, 2)

    def start(tensors: int, xp: Namespace) -> State:
        zero = xp.full(1, 0.0)[0]
        return zero, zero, zero

    def decide(state: State, vitals: Vitals, xp: Namespace) -> tuple[State, Decision]:
        seen, mean, variance = state
        norm = global_norm(vitals, xp)
        is_warm = seen > warm_up - 0.5
        deviation = xp.sqrt(variance)
        z = (norm - mean) / (deviation + 1e-6)
        stands_out = is_warm & (z > threshold)
        target = xp.where(stands_out, mean + threshold * threshold * deviation / z, norm)
        scale = xp.where(stands_out, limit(norm, target, 1e-6, xp), 1.0)
        weight = xp.where(is_warm, xp.full(1, 1.0 - alpha)[0], 1.0 / (seen + 1.0))
        new_mean = mean + weight * (target - mean)
        # Within the warm-up Welford's update, which ends at the variance of all its steps.
        drift = xp.where(is_warm, target - new_mean, target - mean)
        new_variance = (1.0 - weight) * variance + weight * drift * (target - new_mean)
        return (xp.minimum(seen + 1.0, float(warm_up)), new_mean, new_variance), Decision(never(vitals), scale)

    needs = frozenset({"norms"})
    text = text_of("clip=zclip", threshold, alpha=(alpha, 0.97), warm_up=(warm_up, 25))
    return Policy(text, protected(decide, needs), start, needs=needs, bounds=True, compares=True)
