"""What the parameters of an optimizer are called: their path in the module that owns them."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from weakref import ref

import torch
from torch import Tensor
from torch.nn import Module

# Wrappers add a level to every name that says nothing to the user.
_WRAPPERS = ("module.", "_orig_mod.", "_fsdp_wrapped_module.")


@dataclass(frozen=True)
class Naming:
    """Names of an optimizer's tensors, in its order, and the root modules that they were found in."""

    names: tuple[str, ...]
    roots: tuple[ref[Module], ...]

    @property
    def model(self) -> str:
        return ", ".join(type(_unwrapped(root)).__name__ for r in self.roots if (root := r()) is not None)

    def parameters(self) -> list[tuple[Tensor, str]]:
        """Every parameter of the roots that still live, and its name."""
        return list(tree_parameters([root for r in self.roots if (root := r()) is not None]))


def _unwrapped(module: Module) -> Module:
    """What the user wrote, without the wrappers of compilation and of data parallelism."""
    while (inner := getattr(module, "_orig_mod", None) or _wrapped_by_parallel(module)) is not None:
        module = inner
    return module


def _wrapped_by_parallel(module: Module) -> Module | None:
    kind = type(module)
    inner = getattr(module, "module", None)
    return inner if kind.__module__.startswith("torch.nn.parallel") and isinstance(inner, Module) else None


def name_parameters(optimizer: torch.optim.Optimizer) -> Naming:
    """Name every tensor of `optimizer`: by its own named_parameters where it was given them, else by
    the module tree, else by its place (`group0.param3`). Names are unique; a tied weight has one."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    roots = _roots_of(parameters)
    found = {id(p): name for p, name in tree_parameters(roots)}
    given = [
        (names[i] if (names := group.get("param_names")) and i < len(names) else None, f"group{g}.param{i}")
        for g, group in enumerate(optimizer.param_groups)
        for i in range(len(group["params"]))
    ]
    names = [found.get(id(p)) or own or place for p, (own, place) in zip(parameters, given, strict=True)]
    return Naming(tuple(_unique(names)), tuple(ref(root) for root in roots))


def module_names(roots: Iterable[ref[Module]]) -> dict[int, str]:
    """Names of all modules under `roots` by id; several roots are told apart as parameters are."""
    alive = [root for r in roots if (root := r()) is not None]
    return {
        id(module): _strip(prefix + name) or type(module).__name__
        for root, prefix in zip(alive, _prefixes(alive), strict=True)
        for name, module in root.named_modules()
    }


def tree_parameters(roots: list[Module]) -> Iterator[tuple[Tensor, str]]:
    """Every parameter under `roots` and its name, a tied one once per root."""
    for root, prefix in zip(roots, _prefixes(roots), strict=True):
        for name, parameter in root.named_parameters():
            yield parameter, _strip(prefix + name)


def _prefixes(roots: list[Module]) -> list[str]:
    if len(roots) == 1:
        return [""]
    return [f"{name}." for name in _unique([type(root).__name__.lower() for root in roots])]


def _roots_of(parameters: list[Tensor]) -> list[Module]:
    """The outermost living modules that hold any of `parameters`, in order of the parameters.

    Modules are found among the garbage collector's objects: that sees those that are compiled,
    scripted or never called, and leaves no mark on any of them.
    """
    modules = [o for o in gc.get_objects() if isinstance(type(o), type) and issubclass(type(o), Module)]
    inner = {id(child) for module in modules for child in _children(module)}
    place = {id(p): i for i, p in reversed(list(enumerate(parameters)))}
    ranked = []
    for module in modules:
        if id(module) in inner or _is_loss(module):
            continue
        first = min((place[id(p)] for p in module.parameters() if id(p) in place), default=None)
        if first is not None:
            ranked.append((first, -sum(1 for _ in module.parameters()), module))
    ranked.sort(key=lambda entry: entry[:2])
    return _without_twins([module for _, _, module in ranked], place)


def _without_twins(roots: list[Module], place: dict[int, int]) -> list[Module]:
    """Drop a root all of whose parameters an earlier root has already named (a wrapper's other face)."""
    named: set[int] = set()
    kept = []
    for root in roots:
        ids = {id(p) for p in root.parameters() if id(p) in place}
        if not ids <= named:
            kept.append(root)
            named |= ids
    return kept


def _children(module: Module) -> Iterable[Module]:
    return [child for child in module.__dict__.get("_modules", {}).values() if child is not None]


def _is_loss(module: Module) -> bool:
    return isinstance(module, torch.nn.modules.loss._Loss)


def _strip(name: str) -> str:
    for wrapper in _WRAPPERS:
        name = name.replace(wrapper, "")
    return name.rstrip(".")


def _unique(names: list[str]) -> list[str]:
    seen: dict[str, int] = {}
    unique = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        unique.append(name if seen[name] == 1 else f"{name}~{seen[name]}")
    return unique
