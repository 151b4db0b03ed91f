"""The vitals of an optax optimizer in the open: in its state, for those who read and log them by their own means.

    tx = trimtab.optax.guard(optax.adam(1e-3))
    ...
    print(opt_state.grad_norm)

Nothing of `trimtab run` is needed for it, and where that watches too, every step is recorded once.
"""

from __future__ import annotations

from .frameworks.optax._guarded import GuardState as GuardState
from .frameworks.optax._guarded import guard as guard

__all__ = ["GuardState", "guard"]
