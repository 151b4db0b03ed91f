"""`trimtab.guard(optimizer)`: the policies of `trimtab run --with`, asked for in the script itself."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar, cast

from .._errors import TrimtabError
from ._session import current

if TYPE_CHECKING:
    from ..policies import Policy

T = TypeVar("T")


def guard(optimizer: T, model: Any = None, *policies: str | Policy) -> T:
    """Guard `optimizer`: before each step `policies` look at the gradients, and clip them or leave the step out.

        optimizer = trimtab.guard(torch.optim.AdamW(model.parameters()), model)
        optimizer = trimtab.guard(optimizer, model, "skip=nonfinite", "clip=global:1.0")

    Without policies those of `trimtab run --guard`. A torch optimizer is returned as it is, the same object, and so are
    its schedulers, checkpoints and scalers; guarding it again replaces the policies. `model` tells which layer is the
    last, for `clip=agc`; without it the model is found by its parameters. An optax transformation is returned
    wrapped, as by `trimtab.optax.guard`.

    A step left out changes neither weights nor moments, count or decay. Where a policy fails, the training goes on
    unguarded, and stderr says so. Under `trimtab run` what the policies do is recorded.

    Raises PolicyError for a policy that cannot be, and TrimtabError for what is no optimizer.
    """
    from ..policies import guarding

    policy = guarding(policies, with_default=not policies)
    if "torch" in sys.modules and isinstance(optimizer, sys.modules["torch"].optim.Optimizer):
        # By name, as at the import of a framework: who has none must not need it.
        import_module("trimtab.frameworks.torch").guard(current(), optimizer, model, policy)
        return optimizer
    if isinstance(optimizer, tuple) and hasattr(optimizer, "init") and hasattr(optimizer, "update"):
        return cast(T, import_module("trimtab.optax").guard(optimizer, policy))
    raise TrimtabError(
        f"guard needs an optimizer of torch.optim or an optax transformation, got {type(optimizer).__name__}; "
        "a Keras training is guarded by `trimtab run --guard train.py`"
    )
