"""What the page of a replay says."""

REPLAY: dict[str, str] = {
    "The event of step {step} happened again.": "第 {step} 步的故障再次发生。",
    "The event of step {step} did not happen again.": "第 {step} 步的故障没有再次发生。",
    "The event of step {step} was not repeated: {reason}.": "第 {step} 步的故障未能重现：{reason}。",
    "The event": "故障",
    "an exception: {type}": "异常：{type}",
    "gradients were not finite, in {count} tensors: {names}": "{count} 个张量的梯度中有 NaN 或无穷大：{names}",
    "first in the forward pass: {what}": "前向传播中最先出现：{what}",
    "the loss grew to {loss}": "损失升至 {loss}",
    "step {step}: loss {loss}, gradient norm {norm}; the first loss was {first}": (
        "第 {step} 步：损失 {loss}，梯度范数 {norm}；最初的损失为 {first}"
    ),
    "Kept in the black box": "黑匣子中保存了",
    "weights before step {step}, {age} steps old": "第 {step} 步之前的权重（早 {age} 步）",
    "the optimizer's state at that time": "当时的优化器状态",
    "weights of the step that failed": "出错那一步的权重",
    "the optimizer's state of the step that failed": "出错那一步的优化器状态",
    "the batch of the step that failed": "出错那一步的批次",
    "no batch: {reason}": "没有批次：{reason}",
    "the run was without --keep-batch": "运行时没有使用 --keep-batch",
    "{count} tensors": "{count} 个张量",
    "{bad} of them not finite": "其中 {bad} 个含 NaN 或无穷大",
    "{count} entries not finite": "{count} 个元素为 NaN 或无穷大",
    "rows not finite: {rows}": "含 NaN 或无穷大的行：{rows}",
    "rows far from the others: {rows}": "远离其他行的行：{rows}",
    "at the last sampled step before: g2/v up to {ratio}": "此前最后一个抽样步：g2/v 最大 {ratio}",
    "Again": "重现",
    "the kept batch": "保存的批次",
    "a batch of the script": "脚本的一个批次",
    "of the step that failed": "出错那一步",
    "of the snapshot": "快照",
    "of the start": "初始",
    "{batch} on the weights {weights}": "{batch}，用{weights}的权重",
    "loss {loss}, gradient norm {norm}": "损失 {loss}，梯度范数 {norm}",
    "{count} tensors not finite": "{count} 个张量含 NaN 或无穷大",
    "first: {what}": "最先：{what}",
    "g2/v up to {ratio} ({name})": "g2/v 最大 {ratio}（{name}）",
    "the script ended (status {status}) before its first optimizer step: {last}": (
        "脚本在优化器的第一步之前就结束了（状态 {status}）：{last}"
    ),
    "running your script up to its first optimizer steps, in {place}: {command}": (
        "正在 {place} 运行脚本，直到优化器的头几步：{command}"
    ),
    "give the command yourself: trimtab show {run} --replay -- train.py ARGS...": (
        "请自行给出命令：trimtab show {run} --replay -- train.py ARGS..."
    ),
    "The batch was not kept ({why}): a batch of the script stood in for it.": (
        "没有保存批次（{why}）：以脚本的一个批次代替。"
    ),
    "It happens with the first batch on the first weights too: neither this batch nor what was learnt is to blame, "
    "but the model, the loss or the data as a whole.": (
        "用最初的批次和最初的权重也会发生：问题不在这个批次，也不在学到的权重，而在模型、损失函数或数据整体。"
    ),
    "The batch is to blame: it does the same on the weights of the start, and another batch does not on the weights "
    "that failed.": "问题在这个批次：用初始权重时它同样出错，而其他批次用出错时的权重却不出错。",
    "The weights are to blame: another batch does the same on them, and on the weights of the start this batch is "
    "harmless.": "问题在权重：其他批次用这些权重同样出错，而这个批次用初始权重并不出错。",
    "It takes both: this batch is harmless on the weights of the start, and another batch on the weights that "
    "failed.": "两者缺一不可：这个批次用初始权重不出错，其他批次用出错时的权重也不出错。",
    "Another batch does the same on these weights: the weights are to blame, not one batch.": (
        "其他批次用这些权重同样出错：问题在权重，而不在某一个批次。"
    ),
    "Another batch is harmless on the weights that failed: the batch of that step is suspect.": (
        "其他批次用出错时的权重并不出错：那一步的批次可疑。"
    ),
    "The script has changed since the run.": "脚本自那次运行之后已有改动。",
    "Changed in place after they had been given, so not what was seen: {names}.": (
        "传入之后被原地修改，与当时所见不同：{names}。"
    ),
    "The script made no call that took these tensors of the batch: {names}.": "脚本没有用到批次中的这些张量：{names}。",
    "No loss function of PyTorch was seen: targets that went into the loss another way are those of the script's "
    "own batch.": "没有看到 PyTorch 的损失函数：以其他方式进入损失的目标值来自脚本自己的批次。",
    "The script has several optimizers: the weights of the others are those of the start.": (
        "脚本有多个优化器：其他优化器的权重是初始权重。"
    ),
    "The script compiles its model; here it ran uncompiled.": "脚本编译了模型；此处未经编译运行。",
    "the black box holds no weights": "黑匣子中没有权重",
    "without the batch of that step the event cannot be repeated": "没有那一步的批次，无法重现故障",
}
