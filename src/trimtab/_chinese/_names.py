"""Troubles and causes, and what could not be seen, a line each; nouns with their measure words."""

#: Troubles and causes, a line each.
NAMES: dict[str, str] = {
    "exploding-gradient": "信号随深度增大若干个数量级，或梯度范数在几步之内增大若干个数量级。",
    "vanishing-gradient": "信号从第一层到最后一层缩小若干个数量级，或梯度在反向传播途中如此缩小。",
    "non-finite": "损失、梯度或权重中出现了 NaN 或无穷大。",
    "loss-spike": "损失突然跃升，随后恢复。",
    "diverging-loss": "损失升到起点之上，或退回随机水平，并停在那里，或因此耗去大半训练。",
    "oscillating-loss": "损失来回振荡，不再下降。",
    "stalled-loss": "损失最终不优于随机水平，且停滞不动。",
    "slow-loss": "损失仍在下降，但对这次训练的长度来说太慢。",
    "dead-units": "许多神经元对任何输入都输出 0。",
    "saturated-units": "许多激活值落在激活函数的平坦区。",
    "constant-output": "模型对每个输入给出相同的输出。",
    "overfitting": "训练损失继续下降，验证损失却在上升。",
    "idle-parameter": "有参数从不更新。",
    "rank-divergence": "各 rank 的权重、学习率或步数不一致。",
    "crash": "脚本因异常、信号或非 0 退出状态而结束。",
    "learning-rate-too-high": "学习率过高：每一步都走过了头。",
    "learning-rate-too-low": "学习率过低：整个训练中权重几乎没有移动。",
    "missing-warm-up": "缺少预热：最初几步曲率最大时就用了完整步长。",
    "wrong-sign": "符号错误：损失被最大化，或没有下界。",
    "too-few-steps": "步数太少：训练结束时损失仍在下降。",
    "initial-weights-too-large": "初始权重过大：每一层都放大输入的尺度。",
    "initial-weights-too-small": "初始权重过小：每一层都缩小输入和回传梯度的尺度。",
    "constant-initial-weights": "初始权重相同：各神经元始终学到同样的东西。",
    "saturating-activation": "激活函数饱和：sigmoid 和 tanh 在远离 0 处平坦，梯度在那里消失。",
    "dying-activation": "激活函数失活：对任何输入都输出 0 的神经元不传递梯度。",
    "missing-activation": "缺少激活函数：线性层叠加起来仍是一个线性层。",
    "inputs-unscaled": "输入未做标准化。",
    "targets-unscaled": "目标值未做标准化。",
    "output-activation-mismatch": "输出激活函数与损失不匹配：激活被重复施加，或够不到目标值。",
    "loss-mismatch": "损失函数与任务不匹配。",
    "labels-invalid": "标签无效：超出类别范围、整体偏移，或全都相同。",
    "missing-zero-grad": "没有调用 zero_grad()：各步的梯度不断累加。",
    "unclipped-recurrence": "循环网络未做梯度裁剪：梯度随序列长度指数增长。",
    "precision-overflow": "数值溢出：超出了半精度等格式的表示范围。",
    "updates-lost-in-rounding": "更新在舍入中丢失：相对权重太小，低精度格式存不下。",
    "invalid-operation": "非法运算：在该输入处没有有限的值或导数。",
    "stale-second-moment": "二阶矩过时：自适应优化器低估了突然变大的梯度。",
    "bad-batch": "异常批次：其中含有 NaN、无穷大或离群值。",
    "batch-too-small": "批次太小：梯度的噪声盖过了信号。",
    "too-much-dropout": "dropout 过强。",
    "too-much-weight-decay": "权重衰减过强：它压过了梯度。",
    "clipping-too-tight": "裁剪过紧：几乎每一步的梯度都被截短。",
    "depth-without-normalisation": "深层网络没有归一化：信号尺度在各层之间失去控制。",
    "over-smoothing": "过度平滑：图卷积层数过多，各节点的表示趋于相同。",
    "over-capacity": "容量过大：模型足以背下训练集。",
    "weak-optimizer": "优化器不合适：对这个模型来说下降太慢。",
    "uninformative-data": "数据没有信息：输入与目标之间没有模型可用的关系。",
    "frozen-parameters": "参数被冻结，或不在任何优化器中。",
    "detached-graph": "计算图被切断：损失不依赖于被优化的参数。",
    "out-of-memory": "内存不足。",
    "missing-package": "缺少软件包：脚本导入了未安装的包。",
}

#: What could not be seen, by the name that the record has for it.
UNSEEN: dict[str, str] = {
    "no step": (
        "反向传播运行过，但没有看到 torch.optim 优化器的更新：可能漏了 optimizer.step()，"
        "或整步由 torch.compile 编译，或是手写的"
    ),
    "module outputs": ("模块输出：使用了 torch.compile，不测量模块的输出及其梯度（钩子会引起重新编译）；其余照常测量"),
    "optimizer in backward": (
        "反向传播中的优化器：优化器在反向传播途中就更新，没有一个时刻能看到全部梯度，因此每个优化器单独记录"
    ),
    "the whole of sharded tensors": "分片张量的整体：参数分布在多个进程上，范数只是本进程所持部分的范数",
}

#: Nouns that `counted` counts, each with its measure word.
MEASURES: dict[str, str] = {
    "step": "步",
    "parameter tensor": "个参数张量",
    "row": "行",
    "optimizer": "个优化器",
    "metric": "个指标",
}
