"""What speaks for a cause: `findings/causes/*.py`."""

CAUSES: dict[str, str] = {
    # wiring
    "a gradient of norm {norm} was still there when a step's backward pass began: zero_grad() is missing": (
        "一步的反向传播开始时，仍残留着范数为 {norm} 的梯度：缺少 zero_grad()"
    ),
    "requires_grad is off for {share} of the parameters: {names}": "{share} 的参数关闭了 requires_grad：{names}",
    "{names} never had a gradient, though the optimizer holds them: the loss does not depend on them": (
        "{names} 在优化器中，却从未得到梯度：损失不依赖于它们"
    ),
    "{count} of the model are in no optimizer: {names}": "模型中有 {count} 不在任何优化器中：{names}",
    "the gradient is exactly 0 at every step: the loss does not depend on these parameters": (
        "每一步的梯度都恰好为 0：损失不依赖于这些参数"
    ),
    "backward() was called on a loss that depends on no parameter that is trained": (
        "调用了 backward()，但损失不依赖于任何可训练的参数"
    ),
    "the loss that was minimised is {given} where the loss function returned {returned}: its sign was turned": (
        "损失函数返回 {returned}，而被最小化的损失却是 {given}：符号被反转了"
    ),
    "a loss that is minimised towards minus infinity usually has the wrong sign": (
        "损失被一路最小化到负无穷，通常是符号错了"
    ),
    "the optimizer was told to maximise the loss (maximize=True)": "优化器被设为最大化损失（maximize=True）",
    # step size and learning rate
    "the first step changed the weights by {size}": "第一步使权重改变了{size}",
    "a step changes the weights by {size}": "一步使权重改变{size}",
    "the loss goes up and down at every other step: each one overshoots": "损失一步升、一步降：每一步都走过了头",
    "a step changes the weights by up to {size}": "一步最多使权重改变{size}",
    "the loss went from {low} to {high}": "损失从 {low} 变到 {high}",
    "the loss went from {low} to {high} in the first steps": "在最初几步内，损失从 {low} 变到 {high}",
    "the gradient norm went from {low} to {high}": "梯度范数从 {low} 变到 {high}",
    "the loss grew from {low} to {high} before it": "在此之前，损失从 {low} 升至 {high}",
    "the gradient norm grew from {low} to {high} before it": "在此之前，梯度范数从 {low} 升至 {high}",
    "{grew} at {rate}": "{rate} 时，{grew}",
    "{why}; its first step changed the weights by {size}": "{why}；第一步使权重改变了{size}",
    "the learning rate had fallen from {high} to {low} by half of the run: is the schedule stepped too often?": (
        "训练到一半时，学习率已从 {high} 降到 {low}：学习率调度器是否调用得太频繁？"
    ),
    "the learning rate is 0 at every step": "每一步的学习率都是 0",
    "a step changes the weights by {ratio} of their size (healthy: 0.1 % to 0.5 %)": (
        "一步只使权重改变其自身大小的 {ratio}（正常为 0.1% 至 0.5%）"
    ),
    "a step changes the weights by {ratio} of their size: {travel} over the whole run (under {limit} is too little "
    "to learn anything)": ("一步只使权重改变其自身大小的 {ratio}，整个训练合计 {travel}（低于 {limit} 便学不到东西）"),
    "the first step, taken at the full learning rate, changed the weights by {first}; later ones by {later}": (
        "第一步就用了完整的学习率，使权重改变了 {first}；后来的步为 {later}"
    ),
    "the {steps} steps moved the weights by {travel} of their size in all": (
        "{steps} 步总共只让权重移动了其大小的 {travel}"
    ),
    "{share} of the units before {module} died ({before} at the first step) under steps of up to {size}": (
        "{module} 之前有 {share} 的神经元在训练中死亡（第一步为 {before}），其间单步最大为 {size}"
    ),
    "the loss was still falling at the end, by {share} in the second half of the run": (
        "结束时损失仍在下降：后半程下降了 {share}"
    ),
    "{name}'s eps of {eps} outweighs gradients of {rms} (root mean square): its steps are that much shorter": (
        "{name} 的 eps（{eps}）大于梯度（均方根 {rms}）：步长因此缩短"
    ),
    "the gradient of step {step} was {times} times as long as the second moment expected (healthy: under {limit}), "
    "while the loss of its batch was ordinary": (
        "第 {step} 步的梯度是二阶矩所预期的 {times} 倍（正常低于 {limit}），而该批次的损失并无异常"
    ),
    "the weights have shrunk from {first} to {last} (2-norm) under a weight decay of {decay} (usual: up to {usual})": (
        "在 {decay} 的权重衰减下，权重的 2 范数从 {first} 缩小到 {last}（权重衰减通常不超过 {usual}）"
    ),
    "the weight decay is {decay} (usual: up to {usual})": "权重衰减为 {decay}（通常不超过 {usual}）",
    "{share} of the steps are clipped, to {factor} of the gradient's length as a rule: each is as long as the clip "
    "allows, whatever the gradient": (
        "{share} 的步被裁剪，梯度通常只剩 {factor} 的长度：无论梯度如何，每一步的长度都由裁剪决定"
    ),
    "Adadelta at learning rate {rate}, where it is made for 1": "Adadelta 的学习率为 {rate}，而它是为 1 设计的",
    "Adagrad's steps have shrunk to {share} of the first ones, and only ever shrink": (
        "Adagrad 的步长已缩小到最初的 {share}，而且只会越来越小"
    ),
    "Rprop follows the signs of the gradient, which on batches are mostly noise": (
        "Rprop 只看梯度的符号，而小批次梯度的符号大多是噪声"
    ),
    "plain SGD without momentum": "不带动量的 SGD",
    # initial weights
    "every layer multiplies the signal by {pace}": "信号每经过一层，尺度变为 {pace}",
    "each layer passes on {pace}": "每一层只传下去 {pace}",
    "every unit of {names} has the incoming weights of another one": "{names} 的每个神经元都与另一个神经元输入权重相同",
    "{why}, at the first step and still at the last": "{why}，从第一步直到最后一步",
    "{layers} layers and no normalisation among them": "共 {layers} 层，其中没有归一化",
    "{pace} per layer over {layers} layers and no normalisation among them": (
        "每层 {pace}，共 {layers} 层，其中没有归一化"
    ),
    "{pace} per layer over {layers} layers": "每层 {pace}，共 {layers} 层",
    "{growth}; the gradients are not clipped": "{growth}；梯度没有裁剪",
    "{module} is called {calls} times, and on the way back each call multiplies the gradient by {pace}": (
        "{module} 被调用 {calls} 次，反向传播时每次调用使梯度变为 {pace}"
    ),
    "the recurrent weights {tensor} have a gain of {gain} at the first step, where 1 keeps the scale over time": (
        "第一步时循环权重 {tensor} 的增益为 {gain}，增益为 1 才能使尺度不随时间变化"
    ),
    "the gradients of {tensors} are not averaged over the ranks, others are": (
        "{tensors} 的梯度没有在各 rank 之间求平均，其他张量的则有"
    ),
    "at step {step} the gradient has a norm of {here} on rank {first} and of {there} on rank {second}: it was not "
    "averaged over the ranks": (
        "第 {step} 步的梯度范数在 rank {first} 上为 {here}，在 rank {second} 上为 {there}：没有在各 rank 之间求平均"
    ),
    "{name} is recurrent, and its gradients are not clipped": "{name} 是循环层，且梯度没有裁剪",
    "{name} is recurrent, its gradients are not clipped, and at step {step} they were {times} times as long as "
    "before": ("{name} 是循环层，梯度没有裁剪，第 {step} 步的梯度是此前的 {times} 倍"),
    "what tells the rows apart shrinks from {first} of the signal's scale to {last} over {layers} layers": (
        "经过 {layers} 层，各样本之间的差异从信号尺度的 {first} 缩小到 {last}"
    ),
    # activations
    "every layer": "每一层",
    "{count} of {layers} layers": "{layers} 层中的 {count} 层",
    "{activation} after {layers}, {pace} per layer": "{layers}之后是 {activation}，每层 {pace}",
    "{activation} after {layers}, {pace} per layer; its slope is at most 0.25, so that each layer loses at least "
    "that": ("{layers}之后是 {activation}，每层 {pace}；其斜率至多为 0.25，因此每层至少损失这么多"),
    "sigmoid after {layers}; its slope is at most 0.25, so that the first layer gets at most {share} of the gradient, "
    "times the weights": ("{layers}之后是 sigmoid；其斜率至多为 0.25，因此第一层至多得到梯度的 {share}（再乘以权重）"),
    "at {module} {share} of the entries that {activation} gives lie where its slope is under a tenth of its largest": (
        "在 {module} 处，{activation} 的输出有 {share} 落在斜率不足最大值十分之一的地方"
    ),
    "{share} of the units before {module} answer 0 to every input ({before} at the first step)": (
        "{module} 之前有 {share} 的神经元对任何输入都输出 0（第一步为 {before}）"
    ),
    "since step {step} the gradient is exactly 0: no unit passes it on": (
        "从第 {step} 步起梯度恰好为 0：没有神经元传递梯度"
    ),
    "no activation stands between any of the {layers} weighted layers: together they are a single linear map": (
        "{layers} 个带权重的层之间没有任何激活函数：合起来只是一个线性映射"
    ),
    "no activation stands before {bare} of {layers} inner layers": "{layers} 个内部层中，有 {bare} 个之前没有激活函数",
    # batches and data
    "the loss of the batch of step {step} was {high} (before: {usual}) at once": (
        "第 {step} 步的批次损失骤升到 {high}（此前为 {usual}）"
    ),
    "{why}, with a gradient {times} times as long": "{why}，梯度为此前的 {times} 倍",
    "{share} of the sampled batches hold rows of a single class: the data are not shuffled": (
        "抽样的批次中有 {share} 只含一个类别：数据没有打乱"
    ),
    "what the first operation to use it ({op}) was given held NaN or infinity{values}": (
        "最先用到它的运算（{op}）的输入中含有 NaN 或无穷大{values}"
    ),
    "it is the very first step: look at the batch of step {step} for NaN, infinity or a label out of range": (
        "这是最初的一步：请检查第 {step} 步的批次中是否有 NaN、无穷大或超出范围的标签"
    ),
    "the loss and the gradient were ordinary until then: look at the batch of step {step} for NaN, infinity or a label "
    "out of range": "此前损失和梯度都正常：请检查第 {step} 步的批次中是否有 NaN、无穷大或超出范围的标签",
    "an input of the batch of step {step} is {size}, where others reach {usual}": (
        "第 {step} 步的批次中有一个输入为 {size}，而其他批次最大为 {usual}"
    ),
    "the inputs have a root mean square of {rms} and reach {largest} (standardised: 1 and about 4)": (
        "输入的均方根为 {rms}，最大达 {largest}（标准化之后应为 1 和约 4）"
    ),
    "the targets have mean {mean} and standard deviation {std} (standardised: 0 and 1)": (
        "目标值的均值为 {mean}，标准差为 {std}（标准化之后应为 0 和 1）"
    ),
    "{why}; the outputs began with a standard deviation of {begins}": "{why}；输出最初的标准差为 {begins}",
    "a batch has {rows} rows, and the loss swings by {share} of its level from one to the next": (
        "每批只有 {rows} 个样本，损失逐批波动达其水平的 {share}"
    ),
    "the loss rests at {loss}, the best constant answer gives {chance}, and the weights move as they should: the "
    "inputs seem to say nothing about the targets": (
        "损失停在 {loss}，最佳常数输出为 {chance}，而权重的更新正常：输入似乎与目标无关"
    ),
    "the validation loss was never under {best}, where the best constant answer gives {chance}: the inputs seem to "
    "say nothing about the targets, as where rows and labels were shuffled apart": (
        "验证损失从未低于 {best}，而最佳常数输出为 {chance}：输入似乎与目标无关，例如样本与标签被分别打乱"
    ),
    "every row of a batch has the same inputs": "一个批次中各样本的输入完全相同",
    # capacity
    "{count} parameters; the training loss ended at {training}, the validation loss at {validation}": (
        "共 {count} 个参数；训练损失最终为 {training}，验证损失为 {validation}"
    ),
    "dropout leaves out {share} of the units at each step": "dropout 每一步去掉 {share} 的神经元",
    "{why}; without it the loss is {validation} (validation), with it {training}": (
        "{why}；去掉它时损失为 {validation}（验证），使用时为 {training}"
    ),
    # labels
    "no label is 0: they go from {low} to {high}, as if they were counted from 1": (
        "没有标签为 0：标签从 {low} 到 {high}，像是从 1 开始编号"
    ),
    "the targets of {loss} go from {low} to {high}, where it wants 0 to 1: beyond them it has no least value": (
        "{loss} 的目标值从 {low} 到 {high}，而它要求 0 到 1：超出此范围便没有最小值"
    ),
    "every label is {label}": "所有标签都是 {label}",
    "every target is {target}": "所有目标值都是 {target}",
    "a label lies outside of the classes that the model knows": "有标签超出了模型的类别范围",
    # loss and output
    "the targets of {loss} are {count} different whole numbers from {low} to {high}: classes, not amounts": (
        "{loss} 的目标值是从 {low} 到 {high} 的 {count} 个不同整数：是类别，而不是数量"
    ),
    "outputs and targets of {loss} have different shapes and were broadcast: each output is held against the targets "
    "of other rows too": "{loss} 的输出与目标形状不同，被广播了：每个输出还会与其他样本的目标比较",
    "cross-entropy of a single class is 0 whatever the output: a single unit wants a binary loss": (
        "只有一个类别时，无论输出如何，交叉熵都是 0：单个输出应使用二分类损失"
    ),
    "{loss} is given one-hot classes as targets": "{loss} 的目标是 one-hot 类别",
    "every output is exactly 1, whatever the input: a softmax over a single unit": (
        "无论输入如何，输出都恰好是 1：对单个输出做了 softmax"
    ),
    "{loss} wants logarithms of probabilities, which are never above 0, and was given outputs up to {high}: "
    "log_softmax is missing (in Keras: softmax, or from_logits=True)": (
        "{loss} 要求对数概率，它不会大于 0，而输出最大为 {high}："
        "缺少 log_softmax（在 Keras 中：softmax，或 from_logits=True）"
    ),
    "binary cross-entropy wants probabilities, and was given outputs from {low} to {high}: the sigmoid is missing": (
        "二元交叉熵要求概率，而输出在 {low} 到 {high} 之间：缺少 sigmoid"
    ),
    "the outputs given to bce_with_logits have passed {activation} (they lie between {low} and {high}); it applies "
    "sigmoid itself and wants the scores before it": (
        "交给 bce_with_logits 的输出已经过 {activation}（位于 {low} 与 {high} 之间）；它自身会做 sigmoid，"
        "应给它 sigmoid 之前的值"
    ),
    "the outputs given to cross-entropy are probabilities already (each row sums to 1); it applies softmax itself and "
    "wants the scores before it": (
        "交给交叉熵的输出已经是概率（每行之和为 1）；它自身会做 softmax，应给它 softmax 之前的值"
    ),
    "the outputs given to cross-entropy have passed {activation}, which leaves them between {low} and {high}; it wants "
    "scores without bounds": ("交给交叉熵的输出已经过 {activation}，被限制在 {low} 与 {high} 之间；它需要没有界限的值"),
    "{share} of the outputs given to cross-entropy are exactly 0 and none is below: a ReLU at the output": (
        "交给交叉熵的输出有 {share} 恰好为 0，且没有负值：输出端有 ReLU"
    ),
    "{share} of the outputs are exactly 0: a ReLU at the output passes no gradient": (
        "{share} 的输出恰好为 0：输出端的 ReLU 不传递梯度"
    ),
    "the outputs have passed {activation}, which answers {least} to {most}; the targets go from {low} to {high}": (
        "输出已经过 {activation}，只能取 {least} 到 {most}；而目标值从 {low} 到 {high}"
    ),
    # numbers and operations
    "a step leaves {share} of the weights exactly as they were: {format} keeps {bits} bits, and a smaller change "
    "rounds away": "一步之后有 {share} 的权重毫无变化：{format} 只保留 {bits} 位，更小的变化在舍入中丢失",
    "half precision ends at 65,504; now and then a skip is normal, ten in a row are not": (
        "半精度的上限是 65,504；偶尔跳过一步属正常，连续十步则不正常"
    ),
    "the weights are float16, which ends at 65,504, and no gradient scaler is used": (
        "权重为 float16，上限是 65,504，且没有使用梯度缩放"
    ),
    "exp overflows: above 88.7 in float32, above 11.1 in float16": (
        "exp 溢出：float32 超过 88.7、float16 超过 11.1 时发生"
    ),
    "the result of {op} went beyond the range of its number format": "{op} 的结果超出了数值格式的表示范围",
    "the weights were non-finite before the first step": "第一步之前权重中就有 NaN 或无穷大",
    "the gradient of {layer}'s weight is not finite and that of its bias is: the batch of step {step} holds NaN or "
    "infinity": "{layer} 的权重的梯度不是有限值，而其偏置的梯度是：第 {step} 步的批次含有 NaN 或无穷大",
    "an operation may have no finite value or slope there": "可能有某个运算在该处没有有限的值或导数",
    "the script refused a NaN or an infinity": "脚本自身拒绝了 NaN 或无穷大",
    "log of 0 or of a negative number; keep its argument above 0": "对 0 或负数取 log；应使自变量大于 0",
    "the slope of sqrt at 0 is infinite; keep its argument above 0": "sqrt 在 0 处的导数为无穷大；应使自变量大于 0",
    "1/sqrt of 0; keep its argument above 0": "对 0 取 1/sqrt；应使自变量大于 0",
    "a division by 0; keep the divisor away from it": "除以 0；应使除数远离 0",
    "a power whose value or slope is infinite at this input": "幂运算在该输入处的值或导数为无穷大",
    "the slope of a norm at 0 is not defined": "范数在 0 处没有导数",
    "the slope of acos at 1 is infinite": "acos 在 1 处的导数为无穷大",
    "the slope of asin at 1 is infinite": "asin 在 1 处的导数为无穷大",
    "the branch that `where` leaves out is differentiated too: 0 times infinity is NaN": (
        "`where` 未选中的分支也会求导：0 乘以无穷大得 NaN"
    ),
    " (entries {low} to {high})": "（元素从 {low} 到 {high}）",
    " ({bad} of {entries} entries not finite)": "（{entries} 个元素中有 {bad} 个为 NaN 或无穷大）",
    " ({bad} of {entries} entries not finite, the others {low} to {high})": (
        "（{entries} 个元素中有 {bad} 个为 NaN 或无穷大，其余从 {low} 到 {high}）"
    ),
    # process
    "the package {name} is not installed here": "此环境没有安装软件包 {name}",
    "the process had used {share} of the machine's memory": "进程用掉了本机内存的 {share}",
    "memory ran out: a smaller batch needs less": "内存不足：减小批次可以少用内存",
    # validation
    "{found} of {compared} different rows of validation are, to the bit, among the {trained} rows of training that "
    "were looked at": "比较过的 {compared} 个互不相同的验证样本中，有 {found} 个与看到的 {trained} 个训练样本逐位相同",
}
