"""What to try, in words: a remedy's short text form and what it means in the script."""

from __future__ import annotations

import numpy as np

from trimtab.findings import Track, number

from .._language import t
from ._spelling import spelling

ACTIVATIONS = {"relu": "ReLU", "leaky_relu": "LeakyReLU", "gelu": "GELU", "silu": "SiLU", "tanh": "Tanh",
               "sigmoid": "Sigmoid"}  # fmt: skip


def in_words(remedy: str, track: Track | None) -> str:
    """What the remedy changes; empty where its text form is all there is to say (`pip install ...`)."""
    if remedy.startswith("lr*"):
        return _rate(remedy[3:], track)
    if remedy.startswith("steps*"):
        return t("train {factor} times as long", factor=remedy[6:])
    names = spelling(track)
    return _named(remedy, names) or _exact(remedy) or _setting(*remedy.partition("=")[::2], names)


def _named(remedy: str, names: dict[str, str]) -> str:
    """A remedy that a framework has a name for."""
    kind, name = remedy.partition("=")[0], names.get(remedy, "")
    templates = {
        "init": t("initialise each weight with {name}", name=name),
        "norm": t("{name} after each layer", name=name),
        "loss": t("{name} as the loss", name=name),
    }
    return templates.get(kind, "") if name else ""


def _rate(factor: str, track: Track | None) -> str:
    rates = np.asarray(track.columns["lr_max"] if track else (), dtype=np.float64)
    known = rates[np.isfinite(rates) & (rates > 0)]
    try:
        new = number(float(known.max()) * float(factor))
    except ValueError:
        return t("the learning rate times {factor}", factor=factor)
    return t("learning rate {new} instead of {old}", new=new, old=number(float(known.max())))


def _exact(remedy: str) -> str:
    return {
        "clip=agc": t("limit each gradient to a share of its weight's norm"),
        "skip=nonfinite": t("leave out a step whose gradient is not finite"),
        "inputs=standardise": t("scale the inputs to mean 0 and standard deviation 1"),
        "targets=standardise": t("scale the targets to mean 0 and standard deviation 1"),
        "schedule=cosine": t("let the learning rate fall along a cosine"),
        "precision=bf16": t("compute in bfloat16 instead of float16"),
        "precision=fp32": t("compute in float32"),
        "zero_grad=on": t("call optimizer.zero_grad() before each backward pass"),
        "output=log_softmax": t("give the loss the outputs of log_softmax"),
        "activation=none>relu": t("a ReLU after each layer but the last"),
        "output=linear": t("drop the activation at the output"),
        "output=logits": t("give the loss the scores before softmax or sigmoid"),
    }.get(remedy, "")


def _setting(name: str, value: str, names: dict[str, str]) -> str:
    """A remedy of the form name=value."""
    if name == "clip" and value.startswith("global:"):
        limit = value.partition(":")[2]
        return t("limit the gradient's norm to {limit} ({name})", limit=limit, name=names["clip"])
    if name == "activation":
        old, new = (ACTIVATIONS.get(word, word) for word in value.partition(">")[::2])
        return t("{new} in place of {old}", new=new, old=old)
    if name == "warmup":
        return t("let the learning rate rise from 0 over {steps} steps", steps=value)
    return {
        "lr": t("learning rate {value}", value=value),
        "optimizer": t("use the optimizer {name}", name=value),
        "dropout": t("dropout with p = {p}", p=value),
        "weight_decay": t("weight decay {value}", value=value),
        "batch_size": t("batches of {rows} rows", rows=value),
    }.get(name, "")
