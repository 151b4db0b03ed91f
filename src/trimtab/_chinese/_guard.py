"""Guarded trainings: what the policies do, and did."""

from __future__ import annotations

GUARD: dict[str, str] = {
    "leaves out step {step} (gradient norm {norm:.3g})": "跳过了第 {step} 步（梯度范数 {norm:.3g}）",
    "changes the gradients of step {step}": "改动了第 {step} 步的梯度",
    "scales the gradient of step {step} by {scale:.3g} (norm {norm:.3g})": (
        "把第 {step} 步的梯度乘以 {scale:.3g}（范数 {norm:.3g}）"
    ),
    "multiplies the learning rate of step {step} by {scale:.3g}": "把第 {step} 步的学习率乘以 {scale:.3g}",
    "guard: {policy} goes back from step {step} to weights and optimizer state from before step {then} (gradient norm "
    "{norm:.3g})": "守护：{policy} 从第 {step} 步退回到第 {then} 步之前的权重和优化器状态（梯度范数 {norm:.3g}）",
    "guard: {policy} gives up at step {step}: it has gone back as often as its limit allows, and the weights are at "
    "fault again. The training goes on as it is; `trimtab show` says what went wrong": (
        "守护：{policy} 在第 {step} 步放弃：退回的次数已达上限，而权重又出了问题。训练照原样继续；"
        "可用 `trimtab show` 查看出了什么问题"
    ),
    "guard: {why}; the other policies act": "守护：{why}；其余策略照常起作用",
    "guard: {policy} {does}, for the first time": "守护：{policy} 首次动作：{does}",
    "weights are not finite: they were lost before step {first}": "权重中已有 NaN 或无穷，在第 {first} 步之前就已失效",
    "the weights are finite still, but no gradient has been usable since step {first}": (
        "权重仍然有限，但自第 {first} 步起没有一个梯度可用"
    ),
    "guard: all of the last {count} steps were left out: {why}. No guard saves this training; "
    "`trimtab show` says what went wrong": (
        "守护：最近 {count} 步全部被跳过：{why}。任何守护都救不了这次训练；可用 `trimtab show` 查看出了什么问题"
    ),
    "guard: {why}; the training goes on unguarded": "守护：{why}；训练继续，但不再受守护",
    "guard": "守护",
    "Policies: what `trimtab run --with` does to a step's gradients": "策略：`trimtab run --with` 对每一步梯度的处理",
    "Settings": "参数",
    "{policy} had nothing to do in {steps}": "{policy} 在 {steps}中没有动作",
    "{policy} left out {count} of {steps}": "{policy} 在 {steps}中跳过了 {count} 步",
    "{policy} scaled {count} of {steps}, at most by {scale}": (
        "{policy} 在 {steps}中缩放了 {count} 步，最小系数 {scale}"
    ),
    "{policy} went back {times}, and left out {count} of {steps}": (
        "{policy} 退回了 {times}，在 {steps}中跳过了 {count} 步"
    ),
    "{policy} went back {count} times: what breaks the weights comes again. What the findings name as its cause is to "
    "be changed": "{policy} 退回了 {count} 次：破坏权重的原因反复出现，应当去改上面所列的原因",
    "{policy} cut the learning rate of {count} of {steps}, at most by {scale}": (
        "{policy} 在 {steps}中调低了 {count} 步的学习率，最小系数 {scale}"
    ),
    "{policy} changed {count} of {steps}": "{policy} 在 {steps}中改动了 {count} 步",
    "{policy} left out {share} of the steps: it hides a fault that comes back. What the findings name as its cause is "
    "to be changed": "{policy} 跳过了 {share} 的步：它掩盖了一个反复出现的故障，应当去改上面所列的原因",
    "{policy} scaled {share} of the steps, to {factor} of their length as a rule: how long a step is no longer "
    "depends on the gradient. A threshold near the usual norm leaves the usual step alone": (
        "{policy} 缩放了 {share} 的步，通常缩到原长的 {factor}：步长已与梯度大小无关。"
        "把阈值设在通常的范数附近，平常的步便不受影响"
    ),
    "the guard left out {length} steps in a row from step {step} on: no gradient of them could be used": (
        "从第 {step} 步起，守护连续跳过了 {length} 步：这些步的梯度都不可用"
    ),
}
