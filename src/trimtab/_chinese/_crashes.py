"""How a known crash is told: `findings/causes/errors/*.py`, `findings/_crash.py` and `findings/_ignored_setting.py`."""

CRASHES: dict[str, str] = {
    "try: {tries}": "可以试试：{tries}",
    " or ": " 或 ",
    "{setting}={value} of {owner} has no effect ({where})": "{owner} 的 {setting}={value} 不起作用（{where}）",
    # old spellings
    "`{old}` is now `{new}`": "`{old}` 现在是 `{new}`",
    "`{old}` is gone": "`{old}` 已不存在",
    "`{old}` is no longer taken by this optimizer": "这个优化器不再接受 `{old}`",
    "`lr` is now `learning_rate`, and `decay` has no effect any more: a schedule does its work": (
        "`lr` 现在是 `learning_rate`；`decay` 不再起作用，改用学习率调度"
    ),
    "`decay` is no longer taken: the learning rate stays as it is; a schedule does its work": (
        "`decay` 不再起作用：学习率保持不变；改用学习率调度"
    ),
    "`lr` is only a name here: the learning rate of a Keras optimizer is its `learning_rate`": (
        "这里的 `lr` 只是一个普通属性：Keras 优化器的学习率是 `learning_rate`"
    ),
    "`fit` has no `{old}` any more; a `keras.utils.PyDataset` takes it": (
        "`fit` 不再有 `{old}`；它现在是 `keras.utils.PyDataset` 的参数"
    ),
    "a Keras optimizer has no `{old}` any more": "Keras 优化器不再有 `{old}`",
    "a schedule of the learning rate has no `{old}` any more": "学习率调度器不再有 `{old}`",
    "a model is saved to a file that ends in .keras": "模型要保存到以 .keras 结尾的文件",
    "a file of weights ends in .weights.h5": "权重文件要以 .weights.h5 结尾",
    "Keras 3 loads no SavedModel; it can be called as a layer, but not trained": (
        "Keras 3 不能载入 SavedModel；它可以作为一层来调用，但不能训练"
    ),
    "TensorFlow 2 runs eagerly by itself: the call can go": "TensorFlow 2 本来就是即时执行的：去掉这个调用即可",
    "a placeholder belongs to a graph of TensorFlow 1": "placeholder 属于 TensorFlow 1 的计算图",
    "a dataset is iterated over as it is": "数据集可以直接迭代",
    "a TensorFlow function does not take what keras.Input gives; keras.ops has the like of it": (
        "TensorFlow 的函数不接受 keras.Input 的结果；keras.ops 中有相应的函数"
    ),
    "`torch.load` reads tensors only unless told otherwise; this file holds other objects too, and loading those runs "
    "whatever code is in it": ("`torch.load` 默认只读取张量；这个文件里还有其他对象，载入它们会执行文件中的任何代码"),
    "a tensor of a single number has no entries to choose from": "只有一个数的张量没有可取的元素",
    # another framework's manner
    "`backward` is PyTorch's; this loss is a tensor of TensorFlow": (
        "`backward` 是 PyTorch 的方法；这里的损失是 TensorFlow 的张量"
    ),
    "`backward` is PyTorch's; this loss is an array of JAX": "`backward` 是 PyTorch 的方法；这里的损失是 JAX 的数组",
    "an optimizer of PyTorch calls it `lr`": "PyTorch 的优化器把它叫作 `lr`",
    "an optimizer of optax calls it `learning_rate`": "optax 的优化器把它叫作 `learning_rate`",
    "an array of JAX is never changed in place": "JAX 的数组不能就地修改",
    "a PyTorch module was given an array of NumPy": "传给 PyTorch 模块的是 NumPy 数组",
    # shapes
    "the input has {got} features where {want} are expected": "输入有 {got} 个特征，应为 {want} 个",
    "the input has {got} channels where {want} are expected": "输入有 {got} 个通道，应为 {want} 个",
    "the input has {got} axes where {want} are expected: {shape}": "输入有 {got} 个维度，应为 {want} 个：{shape}",
    "layer {layer} expects {want} features and was given {got}": "层 {layer} 需要 {want} 个特征，得到的是 {got} 个",
    "shapes {a} and {b} do not fit together": "形状 {a} 与 {b} 不匹配",
    "axes of {a} and {b} entries meet": "长度为 {a} 与 {b} 的两个维度相遇",
    "{x} rows of inputs meet {y} rows of targets": "输入有 {x} 行，目标有 {y} 行",
    "the targets have {y} columns and the model gives {n}": "目标有 {y} 列，模型给出 {n} 列",
    "the outputs have an axis of one entry that the targets have not": "输出比目标多一个长度为 1 的维度",
    "the channels come last; PyTorch wants them after the batch": "通道在最后一维；PyTorch 要求它紧跟在批次之后",
    "the class numbers have an axis too many": "类别编号多了一个维度",
    "the entries lie in another order in memory": "元素在内存中的次序不同",
    "batch normalisation was given a batch of one row, which has no spread": "批归一化得到只有一行的批次，无从求方差",
    # targets and indices
    "the targets are one number per row; this loss wants {n} values per row, as the model gives": (
        "目标每行只有一个数；这个损失要求每行 {n} 个值，与模型的输出相同"
    ),
    "the targets are {n} values per row; this loss wants one class number per row": (
        "目标每行有 {n} 个值；这个损失要求每行一个类别编号"
    ),
    "targets of the outputs' shape are shares of classes, which {got} cannot hold": (
        "与输出形状相同的目标是各类别的份额，{got} 存不下"
    ),
    "the model has a single output, which knows class 0 only; there is a label {label}": (
        "模型只有一个输出，只认得类别 0；却有标签 {label}"
    ),
    "label {label} lies outside of the {n} classes, 0 to {last}": "标签 {label} 超出了 {n} 个类别（0 到 {last}）",
    "label {label} lies outside of the classes that the model knows": "标签 {label} 超出了模型的类别范围",
    "there are labels from {low} to {high}, and the model has outputs for 0 to {last} only: those beyond belong "
    "to none of them, and are not refused": (
        "标签从 {low} 到 {high}，而模型只有 0 到 {last} 的输出：超出的标签不对应任何输出，也不报错"
    ),
    "index {index} lies outside of a table of {n} rows": "索引 {index} 超出了 {n} 行的表",
    "an embedding was asked for a row that it does not have": "嵌入表中没有所要的行",
    "an embedding was given numbers that are no whole ones ({got})": "传给嵌入层的不是整数（{got}）",
    # formats and devices
    "a tensor of format {got} meets one of {want}": "{got} 格式的张量遇到 {want} 格式的张量",
    "the targets are of format {got}; this loss wants {want}": "目标是 {got} 格式；这个损失要求 {want}",
    "the mean of whole numbers has no format of its own": "整数的平均值没有确定的数值格式",
    "a tensor with a gradient has no values for NumPy before it is detached": "带梯度的张量要先 detach 才能交给 NumPy",
    "a mask cannot be subtracted": "布尔掩码不能相减",
    "a loss is made first, and called with outputs and targets then": "先创建损失对象，再用输出和目标去调用它",
    "an optimizer takes the parameters of a model, not the model": "优化器需要的是模型的参数，而不是模型本身",
    "tensors that meet lie on different devices": "相遇的张量位于不同的设备上",
    "NumPy reads the memory of the machine only": "NumPy 只能读取主机内存",
    "the script asks for a GPU, and PyTorch finds none here": "脚本要用 GPU，而 PyTorch 在这里找不到",
    # passes
    "a condition on values that are known only when the compiled function runs": (
        "条件所依据的值要到编译后的函数运行时才知道"
    ),
    "a value was asked for that is known only when the compiled function runs": "所取的值要到编译后的函数运行时才知道",
    "a shape that is known only when the compiled function runs": "这个形状要到编译后的函数运行时才知道",
    "a weight was changed (by optimizer.step()?) between the forward pass and this backward pass": (
        "在前向传播和这次反向传播之间，有权重被改动（是 optimizer.step() 吗？）"
    ),
    "the output of {op} was changed in place, and its gradient needs it as it was": (
        "{op} 的输出被就地修改，而它的梯度需要原来的值"
    ),
    "the graph of this loss was used up by an earlier backward pass: something in it is left from the step before": (
        "这个损失的计算图已被先前的反向传播用掉：其中有上一步留下来的东西"
    ),
    "a weight is changed in place while gradients are followed": "在记录梯度时就地修改了权重",
}
