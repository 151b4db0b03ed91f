"""Policies: what happens to a step's gradients, as pure functions over any kind of array. One file per policy.

Those that act on the training itself, on its weights or learning rate, are decided on the host (`Policy.on_host`).

`POLICIES` lists them by the name that is typed. To add one: a file with its maker, a line in `POLICIES`, a row in
tests/policies and in docs/policies.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ._adagc import clip_adagc as clip_adagc
from ._agc import clip_agc as clip_agc
from ._autoclip import clip_autoclip as clip_autoclip
from ._centralised import gradient_centralised as gradient_centralised
from ._clip_global_norm import clip_global_norm as clip_global_norm
from ._clip_tensor_norm import clip_tensor_norm as clip_tensor_norm
from ._clip_value import clip_value as clip_value
from ._compose import compose as compose
from ._explained import Explained as Explained
from ._explained import explain_maker
from ._normalised import gradient_normalised as gradient_normalised
from ._parse import parse_with
from ._policy import Decision as Decision
from ._policy import Layout as Layout
from ._policy import Policy as Policy
from ._policy import Recovery as Recovery
from ._policy import State as State
from ._policy import Vitals as Vitals
from ._policy import name_of as name_of
from ._recover_cut import recover_cut as recover_cut
from ._recover_rollback import recover_rollback as recover_rollback
from ._settings import PolicyError as PolicyError
from ._sign import gradient_sign as gradient_sign
from ._skip_nonfinite import skip_nonfinite as skip_nonfinite
from ._skip_spike import skip_spike as skip_spike
from ._warmup import warmup as warmup
from ._xp import NUMPY as NUMPY
from ._xp import Array as Array
from ._xp import Axes as Axes
from ._xp import Namespace as Namespace
from ._zclip import clip_zclip as clip_zclip

POLICIES: dict[str, Callable[..., Policy]] = {
    "clip=global": clip_global_norm,
    "clip=value": clip_value,
    "clip=tensor": clip_tensor_norm,
    "clip=autoclip": clip_autoclip,
    "clip=zclip": clip_zclip,
    "clip=adagc": clip_adagc,
    "clip=agc": clip_agc,
    "skip=nonfinite": skip_nonfinite,
    "skip=spike": skip_spike,
    "gradient=normalised": gradient_normalised,
    "gradient=sign": gradient_sign,
    "gradient=centralised": gradient_centralised,
    "recover=rollback": recover_rollback,
    "recover=cut": recover_cut,
    "warmup": warmup,
}


def parse_policy(text: str) -> Policy:
    """The policy that is typed as `text`: `clip=global:1.0`, `skip=spike`, `clip=zclip:2.5,alpha=0.99`.

    Raises PolicyError, which says what was got, what is allowed and what to do.
    """
    return parse_with(POLICIES, text)


GUARD = ("skip=nonfinite", "skip=spike")
"""What guards a training where nobody says how: it never touches a gradient that it lets pass (docs/policies.md)."""


def guarding(policies: Iterable[str | Policy] = (), *, with_default: bool = False) -> Policy:
    """One policy of those given, in order; `with_default` puts those of `GUARD` first that are not among them.

    Raises PolicyError, as `parse_policy` and `compose` do.
    """
    given = [parse_policy(policy) if isinstance(policy, str) else policy for policy in policies]
    named = {part.name for policy in given for part in policy.parts or (policy,)}
    default = [parse_policy(text) for text in GUARD if with_default and text not in named]
    return compose(*default, *given)


def refuse_on_host(policy: Policy, where: str) -> None:
    """Raise PolicyError if a part of `policy` acts on the host, for which `where` ("optax") has no place."""
    for part in policy.parts or (policy,):
        if part.on_host:
            raise PolicyError(
                f"`{part.text}` acts on the host, between steps, on the optimizer itself: it is there for PyTorch's "
                f"optimizers, not for {where}; leave it out"
            )


def explained(name: str) -> Explained:
    """What the policy of this name does, from its own documentation."""
    return explain_maker(name, POLICIES[name])
