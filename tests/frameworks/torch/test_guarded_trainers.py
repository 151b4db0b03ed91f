"""Guarded optimizers within Lightning, Accelerate and the Hugging Face Trainer, where these are installed."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.frameworks.torch.test_guarding import same
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import trimtab

# What these libraries warn of is theirs.
pytestmark = pytest.mark.filterwarnings("ignore")

F = nn.functional
BAD = 5


class Careful(torch.optim.AdamW):
    """Leaves out a step whose gradient is not finite: the reference, written by hand."""

    def step(self, closure: Any = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        grads = [p.grad for group in self.param_groups for p in group["params"] if p.grad is not None]
        if all(bool(torch.isfinite(grad).all()) for grad in grads):
            super().step()
        return loss


def optimizer_of(model: nn.Module, how: str) -> torch.optim.Optimizer:
    """`how`: plain, careful (by hand) or guarded."""
    optimizer = (Careful if how == "careful" else torch.optim.AdamW)(model.parameters(), lr=1e-2)
    return trimtab.guard(optimizer, model) if how == "guarded" else optimizer


def data() -> TensorDataset:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(96, 6, generator=generator)
    return TensorDataset(x, x[:, :3].argmax(1))


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, 3))


def assert_guard_acts_alone(train: Any) -> None:
    """`train(how, bad)` ends guarded as plain; with a bad batch, as where the step is left out by hand."""
    assert same(train("guarded", None), train("plain", None))
    ended = train("guarded", BAD)
    assert same(ended, train("careful", BAD))
    assert all(bool(torch.isfinite(value).all()) for value in ended[0].values())


# Lightning.


def lightning_module(how: str, bad: int | None, automatic: bool, clip: float | None) -> Any:
    lightning = pytest.importorskip("lightning")

    class Lit(lightning.LightningModule):  # type: ignore[name-defined,misc]
        def __init__(self) -> None:
            super().__init__()
            self.net = network()
            self.automatic_optimization = automatic
            self.seen = 0

        def training_step(self, batch: Any, number: int) -> Any:
            x, y = batch
            self.seen += 1
            loss = F.cross_entropy(self.net(x * math.nan if self.seen - 1 == bad else x), y)
            if automatic:
                return loss
            optimizer = self.optimizers()
            optimizer.zero_grad()
            self.manual_backward(loss)
            if clip is not None:
                self.clip_gradients(optimizer, gradient_clip_val=clip, gradient_clip_algorithm="norm")
            optimizer.step()
            self.lr_schedulers().step()
            return None

        def configure_optimizers(self) -> Any:
            optimizer = optimizer_of(self, how)
            scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 40)
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    return Lit()


def fit(
    how: str,
    bad: int | None,
    *,
    automatic: bool = True,
    clip: float | None = None,
    epochs: int = 2,
    save: Path | None = None,
    resume: Path | None = None,
    **settings: Any,
) -> list[Any]:
    lightning = pytest.importorskip("lightning")
    torch.manual_seed(0)
    module = lightning_module(how, bad, automatic, clip)
    trainer = lightning.Trainer(
        max_epochs=epochs, accelerator="cpu", devices=1, gradient_clip_val=clip if automatic else None, logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, **settings,
    )  # fmt: skip
    torch.manual_seed(0)
    trainer.fit(module, DataLoader(data(), 8), ckpt_path=resume)
    if save is not None:
        trainer.save_checkpoint(save)
    schedulers = [config.scheduler.state_dict() for config in trainer.lr_scheduler_configs]
    return [module.state_dict(), trainer.optimizers[0].state_dict(), schedulers]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"automatic": False, "clip": 0.5},
        {"clip": 0.5, "accumulate_grad_batches": 3},
        {"precision": "bf16-mixed", "clip": 0.5},
    ],
    ids=["automatic", "manual", "accumulating", "bf16"],
)
def test_lightning(settings: dict[str, Any]) -> None:
    assert_guard_acts_alone(lambda how, bad: fit(how, bad, **settings))


@pytest.mark.parametrize(("first", "then"), [("guarded", "plain"), ("plain", "guarded")])
def test_lightnings_checkpoints_are_those_of_a_plain_run(tmp_path: Path, first: str, then: str) -> None:
    states = []
    for hows in (("plain", "plain"), (first, then)):
        path = tmp_path / f"{'-'.join(hows)}.ckpt"
        fit(hows[0], None, epochs=1, save=path)
        states.append(fit(hows[1], None, epochs=2, resume=path))
    assert same(*states)


# Accelerate.


def accelerated(how: str, bad: int | None, *, clip: float | None = None, **settings: Any) -> list[Any]:
    accelerate = pytest.importorskip("accelerate")
    accelerate.state.AcceleratorState._reset_state(reset_partial_state=True)
    accelerate.state.GradientState._reset_state()
    torch.manual_seed(0)
    model = network()
    optimizer = optimizer_of(model, how)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 40)
    accelerator = accelerate.Accelerator(cpu=True, **settings)
    model, optimizer, loader, scheduler = accelerator.prepare(model, optimizer, DataLoader(data(), 8), scheduler)
    for number, (x, y) in enumerate(loader):
        with accelerator.accumulate(model):
            accelerator.backward(F.cross_entropy(model(x * math.nan if number == bad else x), y))
            if clip is not None and accelerator.sync_gradients:
                accelerator.clip_grad_norm_(model.parameters(), clip)
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
    return [accelerator.unwrap_model(model).state_dict(), optimizer.state_dict(), scheduler.state_dict()]


@pytest.mark.parametrize(
    "settings",
    [{}, {"clip": 0.5, "gradient_accumulation_steps": 3}, {"clip": 0.5, "mixed_precision": "bf16"}],
    ids=["plain", "accumulating", "bf16"],
)
def test_accelerate(settings: dict[str, Any]) -> None:
    assert_guard_acts_alone(lambda how, bad: accelerated(how, bad, **settings))


# The Hugging Face Trainer.


def trained(
    how: str, bad: int | None, directory: Path, *, resume: Path | None = None, accumulate: int = 1
) -> list[Any]:
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    torch.manual_seed(0)
    model = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(
            vocab_size=32, n_positions=8, n_embd=16, n_layer=1, n_head=2, bos_token_id=0, eos_token_id=0
        )
    )
    rows = torch.randint(0, 32, (96, 8), generator=torch.Generator().manual_seed(1))

    class Poisoned(transformers.Trainer):  # type: ignore[name-defined,misc]
        def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
            loss = super().compute_loss(*args, **kwargs)
            return loss * math.nan if self.state.global_step == bad else loss

    arguments = transformers.TrainingArguments(
        output_dir=str(directory), max_steps=12, per_device_train_batch_size=4, max_grad_norm=0.5, save_steps=6,
        gradient_accumulation_steps=accumulate, use_cpu=True, report_to=[], disable_tqdm=True, seed=0,
    )  # fmt: skip
    optimizer = optimizer_of(model, how)
    scheduler = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.1, 12)
    trainer = Poisoned(
        model=model,
        args=arguments,
        train_dataset=[{"input_ids": row, "labels": row} for row in rows],
        optimizers=(optimizer, scheduler),
    )
    trainer.train(resume_from_checkpoint=None if resume is None else str(resume))
    return [model.state_dict(), optimizer.state_dict(), scheduler.state_dict()]


@pytest.mark.parametrize("accumulate", [1, 2])
def test_trainer(tmp_path: Path, accumulate: int) -> None:
    assert_guard_acts_alone(lambda how, bad: trained(how, bad, tmp_path / f"{how}{bad}", accumulate=accumulate))


def test_trainers_checkpoints_are_those_of_a_plain_run(tmp_path: Path) -> None:
    whole = trained("guarded", None, tmp_path / "guarded")
    assert same(trained("plain", None, tmp_path / "plain", resume=tmp_path / "guarded" / "checkpoint-6"), whole)
    assert same(trained("guarded", None, tmp_path / "again", resume=tmp_path / "guarded" / "checkpoint-6"), whole)
