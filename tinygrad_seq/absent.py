"""What is said where a name of PyTorch's or NumPy's is asked for that is not here."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

# What stands for it, or why it is not here. The page docs/from_pytorch.md says more.
_INSTEAD = {
    "autograd": "grad, jacobian, hvp and the like stand in tinygrad_seq itself; a tensor needs no Variable.",
    "Variable": "A tensor with requires_grad=True needs no Variable around it.",
    "DataLoader": "tgs.data has batches of text; any iterable of tensors serves a loop of your own.",
    "save": (
        "Weights are saved by safetensors: "
        'safetensors.numpy.save_file({k: v.numpy() for k, v in model.state_dict().items()}, "model.safetensors").'
    ),
    "load": "Weights are loaded by module.load_state_dict(...), from safetensors.",
    "compile": "Kernels are made of the maths by themselves; there is nothing to compile.",
    "jit": "Kernels are made of the maths by themselves; there is nothing to compile.",
    "amp": "There is no automatic mixed precision: dtypes are float32 and float64.",
    "bfloat16": "The dtypes are float32 and float64; a file's bfloat16 is widened when it is read.",
    "half": "Layers are in float32 or float64.",
    "median": "PyTorch gives the lower of the two in the middle, NumPy their mean: take it from x.sort().",
    "index_fill_": "Write with tgs.where or x[mask] = value.",
    "scatter_": "Write with x[ids] = value, or use one_hot.",
    "scatter_add": "Use one_hot and a product.",
    "register_forward_hook": "Use tgs.inspection, or call the layer where you need its output.",
    "log1p": "Use functional.softplus for log(1 + exp(x)), else (1 + x).log().",
    "expm1": "Use x.exp() - 1.",
    "logical_and": "Use x & y of truth values.",
    "logical_or": "Use x | y of truth values.",
    "grad_fn": "x.node is what made it; tgs.draw(x) shows it.",
    "is_cuda": "Everything is on the CPU.",
    "DataParallel": "One process computes on the CPU.",
    "share_memory": "One process computes on the CPU.",
    "utils": "tgs.data has texts, tokens and batches.",
    "distributed": "One process computes on the CPU.",
    "load_state_dict_from_url": "Nothing is downloaded.",
    "lr_scheduler": "Schedules stand in optim itself: StepLR, ExponentialLR, CosineWithWarmup.",
    "BatchNorm1d": "The norms are LayerNorm and RMSNorm.",
    "BatchNorm2d": "The norms are LayerNorm and RMSNorm.",
    "Conv1d": "There are no convolutions: x.unfold(...) gives the windows, Linear the product.",
    "Conv2d": "There are no convolutions: x.unfold(...) gives the windows, Linear the product.",
}


class NameMissing(AttributeError):
    """An attribute that is not there. Its text is made when it is read, for most who ask (`hasattr`) never do."""

    def __init__(self, owner: str, name: str, names: Callable[[], Iterable[str]]):
        super().__init__(f"{owner} has no attribute {name!r}", name=name)
        self.wanted, self.names = name, names

    def __reduce__(self) -> Any:
        return AttributeError, (str(self),)

    def __str__(self) -> str:
        if self.wanted.startswith("__"):
            return str(self.args[0])
        from difflib import get_close_matches  # only where something is wrong

        near = get_close_matches(self.wanted, [n for n in self.names() if not n.startswith("_")], 3, 0.75)
        lines = [f"{self.args[0]}."]
        if near:
            lines.append(f"  near it: {', '.join(near)}.")
        if self.wanted in _INSTEAD:
            lines.append(f"  {_INSTEAD[self.wanted]}")
        lines.append("  docs/from_pytorch.md says what stands for PyTorch's names.")
        return "\n".join(lines)


def missing(owner: str, name: str, names: Callable[[], Iterable[str]]) -> AttributeError:
    """The error for an attribute that is not there: what is near it, what stands for it, where to read on."""
    return NameMissing(owner, name, names)
