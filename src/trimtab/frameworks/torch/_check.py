"""Whether the hook points that we rely on are there in the installed PyTorch, public ones and others."""

from __future__ import annotations

import importlib

import torch
from torch.nn.utils import clip_grad

from ._losses import FUNCTIONS

# torch.optim deletes its attribute `optimizer`: the module is to be had by its name alone.
_STEPS = importlib.import_module("torch.optim.optimizer")

_PLACES = (
    ("optimizer steps", _STEPS, "register_optimizer_step_pre_hook"),
    ("optimizer steps, after", _STEPS, "register_optimizer_step_post_hook"),
    ("backward pass", torch.autograd, "backward"),
    ("module outputs", torch.nn.modules.module, "register_module_forward_hook"),
    ("clip by norm", clip_grad, "clip_grad_norm_"),
    ("clip by value", clip_grad, "clip_grad_value_"),
    ("gradient scaler", torch.amp.grad_scaler.GradScaler, "step"),
    ("multi-tensor norm", torch, "_foreach_norm"),
)


def check_hook_points() -> list[tuple[str, bool, str]]:
    """(name, is it there, detail) for each."""
    places = [(name, hasattr(owner, attribute), attribute) for name, owner, attribute in _PLACES]
    losses = [(f"loss {kind}", hasattr(owner, attribute), attribute) for owner, attribute, kind in FUNCTIONS]
    return [("torch", True, torch.__version__), *places, *losses]
