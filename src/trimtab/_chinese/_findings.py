"""What the troubles say: `findings/*.py`."""

FINDINGS: dict[str, str] = {
    # readings that several need
    "{low} to {high}": "{low} 至 {high}",
    "learning rate {rate}": "学习率 {rate}",
    "learning rate {rate} ({name})": "{name}，学习率 {rate}",
    "{name}, momentum {momentum}": "{name}（动量 {momentum}）",
    "{times} times their size (healthy: 0.1 % to 0.5 %)": "其自身大小的 {times} 倍（正常为 0.1% 至 0.5%）",
    "{share} of their size (healthy: 0.1 % to 0.5 %)": "其自身大小的 {share}（正常为 0.1% 至 0.5%）",
    "{count} layers": "{count} 层",
    "{count} layers, one of them called {times} times": "{count} 层（其中一层被调用 {times} 次）",
    "what happens over time inside {kinds} is not seen": "{kinds} 内部随时间步的变化无法测量",
    "weights of gain {gain} where {wanted} keeps the scale under {activation}": (
        "权重增益为 {gain}，而在 {activation} 下保持尺度需要 {wanted}"
    ),
    "weights of gain {gain}; which activation follows them is not seen (under ReLU {wanted} keeps the scale)": (
        "权重增益为 {gain}；看不到其后是哪种激活函数（在 ReLU 下保持尺度需要 {wanted}）"
    ),
    "weights of gain {gain}; which gain keeps the scale under {activation} is not known here": (
        "权重增益为 {gain}；在 {activation} 下保持尺度所需的增益未知"
    ),
    "weights of gain {gain} where {wanted} is usual under {activation}": (
        "权重增益为 {gain}，而在 {activation} 下通常为 {wanted}"
    ),
    "weights of gain {gain} where {wanted} keeps the scale with no activation between the layers": (
        "权重增益为 {gain}，而层间没有激活函数时保持尺度需要 {wanted}"
    ),
    "; the run trained all the same, so there is nothing to do unless it should train faster": (
        "；尽管如此训练仍然成功，除非想训练得更快，否则无需处理"
    ),
    # constant-output, dead-units, saturated-units, idle-parameter
    "since step {step} the model gives every input the same answer: its outputs differ by {spread} from row to row, "
    "where {scale} would tell them apart": (
        "从第 {step} 步起，模型对每个输入给出相同的输出：各样本的输出只相差 {spread}，而要区分它们应相差 {scale}"
    ),
    "at step {step} {share} of the rows have a label that is none of the classes: what is learned from them is "
    "nothing, or wrong": "第 {step} 步有 {share} 的样本的标签不属于任何类别：从中学不到东西，或学到错误的东西",
    "{says}; a loss below chance cannot come from such answers, and says nothing of them": (
        "{says}；这样的输出不可能使损失低于随机水平，所以该损失并不反映这些输出"
    ),
    "{share} of the units after {layer} answer 0 to every input since step {step}, {start} at the first step; so it "
    "is in {sick} of {layers} layers: {names}": (
        "从第 {step} 步起，{layer} 之后有 {share} 的神经元对任何输入都输出 0（第一步为 {start}）；"
        "{layers} 层中有 {sick} 层如此：{names}"
    ),
    "{share} of what comes out of the activation after {layer} lies where it is flat since step {step}; so it is in "
    "{sick} of {layers} layers: {names}": (
        "从第 {step} 步起，{layer} 之后的激活函数有 {share} 的输出落在平坦区；{layers} 层中有 {sick} 层如此：{names}"
    ),
    "the gradient of every parameter is exactly 0 at every one of {steps}: nothing can be learned": (
        "全部 {steps}中，每个参数的梯度都恰好为 0：什么也学不到"
    ),
    "{count} of {all} parameter tensors get no gradient at all": "{all} 个参数张量中有 {count} 个完全得不到梯度",
    "{count} of {all} parameter tensors are in no optimizer": "{all} 个参数张量中有 {count} 个不在任何优化器中",
    "{count} of {all} parameter tensors are frozen": "{all} 个参数张量中有 {count} 个被冻结",
    # loss-spike, oscillating-loss, slow-loss, overfitting, rank-divergence
    "the loss jumped from {before} to {peak} at step {step} and was back after {steps}": (
        "第 {step} 步损失从 {before} 跃升至 {peak}，{steps}后恢复"
    ),
    "{first}; the largest of {count} such jumps": "{first}；这样的跃升共 {count} 次，此为最大的一次",
    "the gradient norm jumped from {before} to {peak} at step {step}; the loss did not follow": (
        "第 {step} 步梯度范数从 {before} 跃升至 {peak}；损失没有随之升高"
    ),
    "the loss goes up at one step and down at the next, between {low} and {high}, and no longer falls": (
        "损失在 {low} 与 {high} 之间一步升、一步降，不再下降"
    ),
    "the loss swings between {low} and {high} every {period} steps, and no longer falls": (
        "损失每 {period} 步在 {low} 与 {high} 之间摆动一次，不再下降"
    ),
    "the loss is {low} at most steps of the end and {mean} on average, thrown up again and again, to {high}; chance is "
    "{chance}": "末段多数步的损失为 {low}，平均却为 {mean}，一再被抛高，最高到 {high}；随机水平为 {chance}",
    "the loss is tossed between {low} and {high} by steps of over a tenth of the weights, and no longer falls": (
        "每一步的更新超过权重的十分之一，损失在 {low} 与 {high} 之间来回跳动，不再下降"
    ),
    "the loss was still falling at {last}, {share} of {reference}, when the run ended: at that rate another {steps} "
    "steps would halve it{moved}": (
        "训练结束时损失为 {last}（{reference}的 {share}），仍在下降：照此速度，再训练 {steps} 步可以减半{moved}"
    ),
    "a mistake in the script holds the training back: {why}": "脚本中的错误拖慢了训练：{why}",
    "the loss began at {first} and had only come down to {last} when the run ended: the best constant answer gives "
    "{chance}": "损失从 {first} 开始，到训练结束时只降到 {last}，而最佳常数输出为 {chance}",
    "chance": "随机水平",
    "where it began": "起始值",
    "; the weights moved by {travel} of their size in all": "；权重总共只移动了其自身大小的 {travel}",
    "{name} was least at step {step} ({low}) and rose to {high}, while the training loss fell from {before} to "
    "{after}: {lost} of what validation had gained is lost": (
        "{name} 在第 {step} 步最小（{low}），此后升至 {high}，而训练损失从 {before} 降到 {after}："
        "验证集上已取得的进步损失了 {lost}"
    ),
    "{name} ends at {end} and the training loss at {after}: what was learned holds for the training data more than "
    "for others; it does not rise": (
        "{name} 最终为 {end}，训练损失为 {after}：学到的东西更适用于训练数据，而非其他数据；但它没有上升"
    ),
    "{name} was never better than chance ({best} at its best, chance is {chance}), while the training loss came down "
    "to {after}: what is learned holds for the training data alone": (
        "{name} 从未优于随机水平（最低为 {best}，随机水平为 {chance}），而训练损失降到 {after}："
        "学到的东西只适用于训练数据"
    ),
    "{tensor} has a norm of {low} on rank {first} and of {high} on rank {second}": (
        "{tensor} 的范数在 rank {first} 上为 {low}，在 rank {second} 上为 {high}"
    ),
    "the ranks hold different weights from the first step on: {difference}": (
        "各 rank 的权重从第一步起就不一致：{difference}"
    ),
    "the ranks hold different weights since step {step}: {difference}": (
        "各 rank 的权重从第 {step} 步起不一致：{difference}"
    ),
    "the ranks held different weights from step {step} on, and equal ones later": (
        "各 rank 的权重从第 {step} 步起不一致，后来又恢复一致"
    ),
    "at step {step} the learning rate is {low} on rank {first} and {high} on rank {second}": (
        "第 {step} 步的学习率在 rank {first} 上为 {low}，在 rank {second} 上为 {high}"
    ),
    "rank {first} took {few} steps and rank {second} {many}": (
        "rank {first} 走了 {few} 步，rank {second} 走了 {many} 步"
    ),
    # whether it learned
    "loss {last} at the end against chance {chance} (the best constant answer)": (
        "结束时损失为 {last}，随机水平（最佳常数输出）为 {chance}"
    ),
    "loss {last} at the end against chance {chance} (the best constant answer; the loss is taken for a sum over "
    "{rows})": "结束时损失为 {last}，随机水平（最佳常数输出）为 {chance}；损失视为 {rows}之和",
    "at step {step} the gradient becomes {times} larger on its way back through {calls} calls of {module}": (
        "第 {step} 步，梯度在反向经过 {module} 的 {calls} 次调用后变大了 {times}"
    ),
    "loss {last} at the end against {first} at the start (a loss that may be negative is not held against chance)": (
        "结束时损失为 {last}，开始时为 {first}（可能为负的损失不与随机水平比较）"
    ),
    "loss {last} at the end against {first} at the start (chance is not known for this loss)": (
        "结束时损失为 {last}，开始时为 {first}（此损失的随机水平未知）"
    ),
    "{steps}, too few to judge; {against}": "只有 {steps}，不足以判断；{against}",
    "the loss fell from {first} to {last} in {steps} and rests there, chance is {chance}: a plateau or a stall": (
        "损失在 {steps}内从 {first} 降到 {last} 后停住，随机水平为 {chance}：可能是平台期，也可能是停滞"
    ),
    "the outputs never spread over more than 1 ({low} to {high}), as log_softmax gives them for what softmax has "
    "gone over already": (
        "输出的跨度从未超过 1（{low} 到 {high}），这正是对已经过 softmax 的值再做 log_softmax 的结果"
    ),
    "{against}; still falling when the run ended: too few steps to judge": (
        "{against}；训练结束时仍在下降：步数太少，无法判断"
    ),
    "{against}: a little better, and no longer falling": "{against}：略有改善，但不再下降",
    "{against}: its noise hides where it began": "{against}：噪声掩盖了起始值",
    "{against}: a loss that may be negative and does not fall says nothing": (
        "{against}：可以为负且不下降的损失说明不了什么"
    ),
    "the loss was {last} at every one of {steps}": "全部 {steps}中，损失始终是 {last}",
    "every loss seen was NaN or infinite": "看到的损失全是 NaN 或无穷大",
    "no loss was seen: no backward pass that trimtab could read": "没有看到损失：没有 trimtab 能读取的反向传播",
    "no optimizer step was seen": "没有看到优化器更新",
    "several optimizers took turns, each with a loss of its own (as in a GAN): no single loss says how well they "
    "train": ("多个优化器轮流更新，各有自己的损失（如 GAN）：没有哪一个损失能单独说明训练得如何"),
    # what was compared
    "no NaN and no infinity in {steps}": "{steps}中没有 NaN，也没有无穷大",
    "signal over {path}: {changes}, limit 10^±{limit}": "信号经过 {path}：{changes}，界限 10^±{limit}",
    "{path} at step {step}": "{path}（第 {step} 步）",
    "forward": "前向",
    "backward": "反向",
    "{models} models trained in turn, each judged alone: {good} of them trained": (
        "先后训练了 {models} 个模型，分别判断：其中 {good} 个训练成功"
    ),
    "interrupted by {how}": "被 {how} 中断",
    "no optimizer step was seen, and the record has no end": "没有看到优化器更新，记录也没有结尾",
    "{says}; by the end of the run this was over": "{says}；到运行结束时已经消失",
    # crash
    "crashed: {error}": "程序崩溃：{error}",
    "killed by {name}": "被 {name} 杀死",
    "killed by {name}, having used up to {memory} GB of memory": "被 {name} 杀死，此前最多用了 {memory} GB 内存",
    "signal {code}": "信号 {code}",
    "the script ended with status {status}; no exception was seen": "脚本以状态 {status} 结束；没有看到异常",
    "{says}; SIGKILL comes by hand, from a scheduler, or from the kernel when memory runs out": (
        "{says}；SIGKILL 可能是人为发出，也可能来自调度系统，或内存耗尽时来自内核"
    ),
    "{says}, in a child process; the script itself ended well": "{says}（发生在子进程中；脚本本身正常结束）",
    # diverging-loss, stalled-loss
    "from step {step} on the loss stays above {threshold} (twice the larger of its start and chance), at {level}": (
        "从第 {step} 步起，损失一直高于 {threshold}（起始值与随机水平中较大者的两倍），为 {level}"
    ),
    "from step {step} on the loss rose to {peak}, was above {threshold} at {beyond} of {steps} steps": (
        "从第 {step} 步起，损失升至 {peak}，{steps} 步中有 {beyond} 步高于 {threshold}"
    ),
    "{rose}, and ended at {level}: it began at {start}": "{rose}，最终为 {level}：起始值为 {start}",
    "{rose}, and ended at {level}: chance is {chance}": "{rose}，最终为 {level}：随机水平为 {chance}",
    "drop the activation at the output": "去掉输出层的激活函数",
    "the outputs given to {loss} have passed {activation}; it wants probabilities, as {wanted} gives them": (
        "交给 {loss} 的输出经过了 {activation}；它需要概率，应由 {wanted} 给出"
    ),
    "{name} is measured on rows that the model trains on: it says nothing of other data": (
        "{name} 是在模型训练所用的样本上测得的：它不反映其他数据"
    ),
    "{name} is measured in part on rows that the model trains on: on others it is higher": (
        "{name} 有一部分是在模型训练所用的样本上测得的：在其他样本上会更高"
    ),
    "{rose}; the training recovered, and ended at {level}": "{rose}；训练随后恢复，最终为 {level}",
    "from step {step} on the loss is below 0, at {level}: a cross-entropy of valid labels cannot be": (
        "从第 {step} 步起，损失低于 0，为 {level}：标签有效时交叉熵不可能如此"
    ),
    "from step {step} on the loss runs away downwards, to {level}: it has no least value": (
        "从第 {step} 步起，损失不断下跌，直到 {level}：它没有最小值"
    ),
    "the loss had come down to {best}, rose from step {step} on and stayed at {level}, where it began": (
        "损失曾降到 {best}，从第 {step} 步起回升，并停在起点附近的 {level}"
    ),
    "the loss stands still at {last}": "损失停在 {last}，不再变化",
    "the loss was the same at every step, {last}": "每一步的损失都相同，为 {last}",
    "{says}; chance is {chance}": "{says}；随机水平为 {chance}",
    "{says}; it began at {first}": "{says}；起始值为 {first}",
    "{says}; no cause was found in the record": "{says}；记录中没有找到原因",
    # exploding-gradient, vanishing-gradient
    "at step {step} the gradient becomes {times} larger on its way back through {path}": (
        "第 {step} 步，梯度反向经过 {path}时增大 {times}"
    ),
    "at step {step} the signal becomes {times} larger on its way through {path}": (
        "第 {step} 步，信号经过 {path}时增大 {times}"
    ),
    "at step {step} the gradient becomes {times} smaller on its way back through {path}": (
        "第 {step} 步，梯度反向经过 {path}时缩小 {times}"
    ),
    "at step {step} the signal becomes {times} smaller on its way through {path}": (
        "第 {step} 步，信号经过 {path}时缩小 {times}"
    ),
    "at step {step} no gradient at all gets through {path}": "第 {step} 步，梯度完全无法通过 {path}",
    "at step {step} no signal at all gets through {path}": "第 {step} 步，信号完全无法通过 {path}",
    ": the first ones hardly learn": "：靠前的层几乎学不到东西",
    ": the last ones hardly see the input": "：靠后的层几乎看不到输入",
    "; what the loss did after the first steps explains the run better": "；最初几步之后损失的变化更能说明这次训练",
    "{says}, and the loss starts at {loss}": "{says}，起始损失为 {loss}",
    "the gradient norm jumped from {before} to {now} at step {step}": "第 {step} 步，梯度范数从 {before} 跃升至 {now}",
    "{says}, most in {tensor}": "{says}，以 {tensor} 处最大",
    # non-finite
    "the loss became {value} at {when}": "损失在{when}变为 {value}",
    "the loss became {value} at {when}, first in {source}": "损失在{when}变为 {value}，最先出现在 {source}",
    "the gradient became non-finite at {when}, while the loss was {value}": (
        "梯度在{when}出现 NaN 或无穷大，当时损失为 {value}"
    ),
    "the gradient became non-finite at {when}, first in {tensor}, while the loss was {value}": (
        "梯度在{when}出现 NaN 或无穷大，最先在 {tensor}，当时损失为 {value}"
    ),
    "{says}; from then on the weights of {names} hold NaN or infinity, and what follows them hides it": (
        "{says}；此后 {names} 的权重含有 NaN 或无穷大，被其后的运算掩盖"
    ),
    "the weights hold NaN or infinity at {when}, from the start: {names}": (
        "权重在{when}含有 NaN 或无穷大，从一开始就有：{names}"
    ),
    "the weights hold NaN or infinity at {when}, after the update of the step before: {names}": (
        "权重在{when}含有 NaN 或无穷大，出现在上一步的更新之后：{names}"
    ),
    "step {step} (backward pass {one} of {all})": "第 {step} 步（{all} 次反向传播中的第 {one} 次）",
    "{operation} after {place}": "{place} 之后的 {operation}",
    "an operation": "某个运算",
    "{says}; the training went on with finite numbers ({count} of this kind)": (
        "{says}；此后训练恢复为有限值（此类情况共 {count} 次）"
    ),
    "the gradient scaler withheld {length} steps in a row from step {step} on: each gradient overflowed": (
        "从第 {step} 步起，梯度缩放器连续跳过 {length} 步：每次梯度都溢出"
    ),
    "the gradient scaler withheld {length} steps in a row from step {step} on: the loss was {loss} at each": (
        "从第 {step} 步起，梯度缩放器连续跳过 {length} 步：每一步的损失都是 {loss}"
    ),
    "{says}, and its scale fell to {scale}": "{says}，缩放因子降到 {scale}",
}
