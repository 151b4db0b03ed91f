"""Number formats, types and devices that do not fit together."""

from __future__ import annotations

from ...._language import t
from ._fits import DEVICE, TYPE
from ._known_error import Groups, KnownError

_FLOATS = "(?:float|double|Float|Double|Half|BFloat16|c10::Half|c10::BFloat16)"


def _formats(groups: Groups) -> str:
    return t("a tensor of format {got} meets one of {want}", got=groups["got"], want=groups["want"])


def _target_format(groups: Groups) -> str:
    return t("the targets are of format {got}; this loss wants {want}", got=groups["got"], want=groups["want"])


# The first row that matches counts.
ROWS: tuple[KnownError, ...] = (
    # Formats
    KnownError(
        TYPE,
        "RuntimeError",
        r"^expected target dtype to be (?P<want>Long) or Byte, but got (?P<got>\w+)",
        _target_format,
        tries=("target.long()",),
    ),
    KnownError(
        TYPE,
        "RuntimeError",
        r"^expected scalar type (?P<want>Long) but found (?P<got>\w+)",
        _target_format,
        tries=("target.long()",),
    ),
    KnownError(
        TYPE,
        "RuntimeError",
        rf"^result type (?P<want>{_FLOATS}) can't be cast to the desired output type (?P<got>\w+)",
        _target_format,
        tries=("target.float()",),
    ),
    KnownError(
        TYPE,
        "RuntimeError",
        rf"^Found dtype (?P<got>\w+) but expected (?P<want>{_FLOATS})",
        _target_format,
        tries=("target.float()",),
    ),
    KnownError(
        TYPE,
        "RuntimeError",
        r"^mat1 and mat2 must have the same dtype, but got (?P<got>\w+) and (?P<want>Float)",
        _formats,
        tries=("x.float()",),
    ),
    KnownError(
        TYPE,
        "RuntimeError",
        r"^mat1 and mat2 must have the same dtype, but got (?P<got>\w+) and (?P<want>\w+)",
        _formats,
        tries=("x.to(model.weight.dtype)",),
    ),
    KnownError(
        TYPE,
        "RuntimeError",
        r"^Input type \((?P<got>[a-z ]+)\) and (?:bias|weight) type \((?P<want>float)\) should be the same",
        _formats,
        tries=("x.float()",),
    ),
    KnownError(
        TYPE,
        "ValueError",
        r"^RNN input dtype \((?P<got>\S+)\) does not match weight dtype \((?P<want>\S+)\)",
        _formats,
        tries=("x.to(%(want)s)",),
    ),
    KnownError(
        TYPE,
        "RuntimeError",
        r"'indices' to have one of the following scalar types: Long, Int; but got (?P<got>\S+)",
        lambda g: t("an embedding was given numbers that are no whole ones ({got})", got=g["got"]),
        tries=("x.long()",),
    ),
    KnownError(
        TYPE,
        "RuntimeError",
        r"^mean\(\): could not infer output dtype",
        lambda g: t("the mean of whole numbers has no format of its own"),
        turn=r"(?<=[\w)\]])\.mean\(",
        into=".float().mean(",
        tries=("x.float().mean()",),
    ),
    KnownError(
        TYPE,
        "RuntimeError",
        r"^Can't call numpy\(\) on Tensor that requires grad",
        lambda g: t("a tensor with a gradient has no values for NumPy before it is detached"),
        turn=r"(?<!detach\(\))\.numpy\(\)",
        into=".detach().numpy()",
        tries=("x.detach().numpy()",),
    ),
    KnownError(
        TYPE,
        "RuntimeError",
        r"^Subtraction, the `-` operator, with a bool tensor is not supported",
        lambda g: t("a mask cannot be subtracted"),
        turn=r"\b1\s*-\s*(?=[A-Za-z_(])",
        into="~",
        tries=("~mask",),
    ),
    KnownError(
        TYPE,
        "RuntimeError",
        r"^Boolean value of Tensor with more than one value is ambiguous",
        lambda g: t("a loss is made first, and called with outputs and targets then"),
        line=r"\bnn\.\w*Loss\(",
        turn=r"\bnn\.(\w*Loss)\((?=[^)])",
        into=r"nn.\1()(",
        tries=("nn.MSELoss()(output, target)",),
    ),
    KnownError(
        TYPE,
        "TypeError",
        r"^'(?P<got>\w+)' object is not iterable",
        raised_in="optimizer.py:__init__",
        says=lambda g: t("an optimizer takes the parameters of a model, not the model"),
        turn=r"\b(optim\.\w+\(\w+)(?=\s*[,)])",
        into=r"\1.parameters()",
        tries=("model.parameters()",),
    ),
    # Devices
    KnownError(
        DEVICE,
        "RuntimeError",
        r"^Expected all tensors to be on the same device",
        lambda g: t("tensors that meet lie on different devices"),
        tries=("x, y = x.to(device), y.to(device)",),
    ),
    KnownError(
        DEVICE,
        "RuntimeError",
        r"^Input type \(torch\.(?:cuda\.)?\w+\) and weight type \(torch\.(?:cuda\.)?\w+\) should be the same",
        lambda g: t("tensors that meet lie on different devices"),
        tries=("x, y = x.to(device), y.to(device)",),
    ),
    KnownError(
        DEVICE,
        "TypeError",
        r"^can't convert \S+ device type tensor to numpy",
        lambda g: t("NumPy reads the memory of the machine only"),
        turn=r"(?<!cpu\(\))\.numpy\(\)",
        into=".cpu().numpy()",
        tries=("x.cpu().numpy()",),
    ),
    KnownError(
        DEVICE,
        "AssertionError|RuntimeError",
        r"^(?:Torch not compiled with CUDA enabled|Found no NVIDIA driver)",
        lambda g: t("the script asks for a GPU, and PyTorch finds none here"),
        tries=('device = "cuda" if torch.cuda.is_available() else "cpu"',),
    ),
)
