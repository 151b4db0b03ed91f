"""Verdicts written by hand, with the planted record that each is about: what the snapshots of pages show."""

from __future__ import annotations

import numpy as np

from tests.findings._planted import PlantedRecord, falling, flat, over_depth, record, series, table
from trimtab._language import spoken
from trimtab.findings import Cause, Finding, Verdict


def say(english: str, chinese: str) -> str:
    return chinese if spoken() == "zh" else english


def no_nan(steps: int) -> str:
    return say(f"no NaN and no infinity in {steps} steps", f"{steps} 步中没有 NaN 和无穷大")


def healthy() -> tuple[PlantedRecord, Verdict]:
    first = say(
        "loss 0.123 at the end against chance 2.30 (the best constant answer)",
        "结束时损失为 0.123，随机水平（最佳常数输出）为 2.30",
    )
    depth = say(
        "signal over 12 layers: forward ×1, backward ×1, limit 10^±3.0",
        "信号经过 12 层：前向 ×1，反向 ×1，界限 10^±3.0",
    )
    planted = record(series(falling(300), modules=over_depth(np.zeros(12), np.zeros(12))))
    return planted, Verdict("trained", 300, (), (first, no_nan(300), depth))


def blew_up() -> tuple[PlantedRecord, Verdict]:
    loss = np.concatenate([falling(40), np.geomspace(0.5, 1e6, 20), np.full(40, np.nan)])
    norm = np.concatenate([np.ones(40), np.geomspace(2, 1e9, 20), np.full(40, np.nan)])
    lost = np.arange(100) >= 60
    planted = record(series(loss, grad_norm=norm, nonfinite=np.where(lost, 4, 0)))
    why = say(
        "the gradient norm went from 1 to 1e+09 at learning rate 0.1 (SGD); its first step changed the weights "
        "by 64% of their size (healthy: 0.1 % to 0.5 %)",
        "SGD，学习率 0.1 时，梯度范数从 1 升至 1e+09；第一步就使权重改变了其大小的 64%（正常为 0.1% 至 0.5%）",
    )
    nan = Finding(
        "non-finite",
        "fatal",
        60,
        99,
        say(
            "the loss became NaN at step 60, first in log",
            "第 60 步损失变为 NaN，始于 log",
        ),
    )
    jump = say(
        "the gradient norm jumped from 1 to 4,200 at step 47, most in head.weight",
        "第 47 步梯度范数从 1 跃升至 4,200，head.weight 处最大",
    )
    places = tuple({"tensor": name} for name in ("head.weight", "body.3.weight", "body.5.weight", "body.7.weight"))
    causes = (Cause("learning-rate-too-high", why),)
    finding = Finding(
        "exploding-gradient",
        "fatal",
        47,
        99,
        jump,
        places,
        {},
        causes,
        ("lr*0.1", "clip=global:1.0", "warmup=100"),
        (nan,),
    )
    note = Finding(
        "vanishing-gradient",
        "note",
        0,
        99,
        say(
            "at step 0 the gradient becomes 120 times smaller on its way back through 8 layers; the "
            "training got over it",
            "第 0 步梯度在反向经过 8 层时缩小 120 倍；训练克服了这一点",
        ),
    )
    return planted, Verdict("blew_up", 100, (finding, note))


def stalled() -> tuple[PlantedRecord, Verdict]:
    modules = over_depth(np.zeros(10), np.linspace(-9, -3, 10), activation="Sigmoid")
    stands = Finding(
        "stalled-loss",
        "serious",
        0,
        199,
        say("the loss stands still at 2.31; chance is 2.30", "损失停在 2.31；随机水平为 2.30"),
    )
    causes = (
        Cause(
            "saturating-activation",
            say(
                "Sigmoid after every layer, ×0.22 per layer; its slope is at most 0.25, "
                "so that each layer loses at least that",
                "每层之后都是 Sigmoid，每层 ×0.22；其斜率至多 0.25，每层至少损失这么多",
            ),
        ),
        Cause(
            "depth-without-normalisation", say("10 layers and no normalisation among them", "共 10 层，其中没有归一化")
        ),
    )
    finding = Finding(
        "vanishing-gradient",
        "fatal",
        0,
        199,
        say(
            "at step 0 the gradient becomes 1,000,000 times smaller on its way back through 10 layers: the first ones "
            "hardly learn",
            "第 0 步梯度在反向经过 10 层时缩小 10^6.0 倍：靠前的层几乎学不到东西",
        ),
        ({"module": "layers.0"}, {"module": "layers.1"}),
        {"direction": "backward", "by_depth": list(np.linspace(-7.2, -1.2, 10))},
        causes,
        ("activation=sigmoid>relu", "norm=layer"),
        (stands,),
        status="confirmed",
    )
    return record(series(flat(200), modules=modules)), Verdict("stalled", 200, (finding,), (no_nan(200),))


def in_turn() -> tuple[PlantedRecord, Verdict]:
    planted = record(series(falling(100)), series(flat(100), optimizer=1, start=2.0))
    stands = say("the loss stands still at 2.27; chance is 2.30", "损失停在 2.27；随机水平为 2.30")
    second = say("part 2: ", "第 2 部分：")
    finding = Finding("stalled-loss", "serious", 0, 99, stands, ({"optimizer": 1},), {}, (), ("lr*10", "lr*0.1"))
    of_whole = Finding("stalled-loss", "serious", 0, 99, second + stands, ({"optimizer": 1},), {}, (), finding.remedies)
    learned = say(
        "loss 0.127 at the end against chance 2.30 (the best constant answer)",
        "结束时损失为 0.127，随机水平（最佳常数输出）为 2.30",
    )
    parts = (
        Verdict("trained", 100, (), (learned,), name="part 1: SGD on Net"),
        Verdict("stalled", 100, (finding,), name="part 2: SGD on Net"),
    )
    compared = say(
        "2 models trained in turn, each judged alone: 1 of them trained", "先后训练了 2 个模型，分别判断：1 个训练成功"
    )
    return planted, Verdict("stalled", 200, (of_whole,), (compared,), parts=parts)


def overfitted() -> tuple[PlantedRecord, Verdict]:
    planted = record(series(falling(200)))
    held_out = np.concatenate([np.linspace(2.3, 0.9, 6), np.linspace(1.0, 2.8, 14)])
    planted.rows["metrics"] = table("metrics", 20, name="val_loss", value=held_out, source="validation")
    rising = say(
        "the validation loss rose from 0.9 at step 60 to 2.8, while the training loss fell to 0.1",
        "验证损失自第 60 步的 0.9 升至 2.8，而训练损失降到 0.1",
    )
    units = say("62% of the units of layers.1 answer 0 to every input", "layers.1 中 62% 的神经元对任何输入都输出 0")
    findings = (
        Finding(
            "overfitting",
            "warning",
            60,
            199,
            rising,
            (),
            {"metric": "val_loss"},
            (),
            ("weight_decay=0.01", "dropout=0.1"),
        ),
        Finding(
            "dead-units",
            "warning",
            0,
            199,
            units,
            ({"module": "layers.1"},),
            {"share": 0.62},
            (),
            ("activation=relu>leaky_relu",),
        ),
    )
    learned = say(
        "loss 0.123 at the end against chance 2.30 (the best constant answer)",
        "结束时损失为 0.123，随机水平（最佳常数输出）为 2.30",
    )
    return planted, Verdict("trained", 200, findings, (learned, no_nan(200)))


def crashed() -> tuple[PlantedRecord, Verdict]:
    place = {"file": "train.py", "line": 88, "function": "forward", "rank": 3}
    says = "RuntimeError: mat1 and mat2 shapes cannot be multiplied (32x128 and 64x10) (train.py:88)"
    finding = Finding("crash", "fatal", 99, 99, says, (place,))
    return record(series(falling(100)), status=1), Verdict("crashed", 100, (finding,), (no_nan(100),))


def not_judged() -> tuple[PlantedRecord, Verdict]:
    return record(), Verdict("unjudged", 0, reason=say("no optimizer step was seen", "没有看到优化器更新"))


PAGES = {page.__name__: page for page in (healthy, blew_up, stalled, in_turn, overfitted, crashed, not_judged)}
