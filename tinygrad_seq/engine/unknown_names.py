"""The error for a name that does not exist, and a hint for the names of PyTorch, of NumPy and of older versions."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

# What to use in its place, or why there is no such name. The page docs/from_pytorch.md says more.
_INSTEAD = {
    # What earlier versions called parts of this package.
    "charts": "It is tgs.analysis.plots now.",
    "comparing": "It is tgs.analysis.compare now.",
    "diagnosis": "It is tgs.analysis.doctor now.",
    "inspection": "It is tgs.analysis.probe now.",
    "pictures": "It is tgs.viz now.",
    "report": "It is tgs.analysis.report now.",
    # PyTorch and NumPy.
    "autograd": (
        "grad, jacobian, hvp and the like stand in tinygrad_seq itself; a tensor needs no Variable. "
        "For a Function of your own: tinygrad_seq.engine.extend.new_op."
    ),
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
    "cumprod": "Use x.log().cumsum(dim).exp() for numbers above 0; x.prod(dim) is the last of them.",
    "expm1": "Use x.exp() - 1; for a small x that loses digits.",
    "log2": "Use x.log() / math.log(2).",
    "log10": "Use x.log() / math.log(10).",
    "exp2": "Use 2.0**x.",
    "tan": "Use x.sin() / x.cos().",
    "sinh": "Use (x.exp() - (-x).exp()) / 2.",
    "cosh": "Use (x.exp() + (-x).exp()) / 2.",
    "logaddexp": "Use logsumexp of stack([x, y], -1).",
    "logical_and": "Use x & y of truth values.",
    "logical_or": "Use x | y of truth values.",
    "logical_xor": "Use x ^ y of truth values.",
    "isclose": "Use (x - y).abs() <= atol + rtol * y.abs(), or allclose for all of them.",
    "outer": "Use x.unsqueeze(1) * y.",
    "addmm": "Use c + a @ b.",
    "baddbmm": "Use c + a @ b.",
    "tensordot": "Use einsum.",
    "diag": "Use x * eye(n) for a matrix of it, (x * eye(n)).sum(1) for the diagonal.",
    "diagonal": "Use (x * eye(n)).sum(1).",
    "trace": "Use (x * eye(n)).sum().",
    "lerp": "Use x + (y - x) * weight.",
    "unique": "Use np.unique(x.numpy()).",
    "nonzero": "Use np.argwhere(x.numpy()); x[mask] picks by truth values.",
    "count_nonzero": "Use (x != 0).sum().",
    "bincount": "Use np.bincount(x.numpy()), or one_hot(x).sum(0).",
    "histc": "Use np.histogram(x.numpy()).",
    "hstack": "Use cat([x, y], -1).",
    "vstack": "Use cat([x, y], 0).",
    "concatenate": "Use cat([x, y], 0).",
    "meshgrid": "Use x.unsqueeze(1) and y.unsqueeze(0), which broadcast.",
    "logspace": "Use 10.0 ** linspace(start, end, steps).",
    "ravel": "Use x.flatten().",
    "moveaxis": "Use x.movedim(a, b).",
    "swapdims": "Use x.transpose(a, b).",
    "reshape_as": "Use x.reshape(y.shape).",
    "unflatten": "Use x.reshape(...).",
    "clamp_min": "Use x.clamp(min=...).",
    "clamp_max": "Use x.clamp(max=...).",
    "fmod": "x % y has the sign of y; fmod is x - y * (x / y).trunc().",
    "remainder": "Use x % y.",
    "floor_divide": "Use x // y.",
    "true_divide": "Use x / y.",
    "nan_to_num": "Use where(x.isnan(), 0.0, x).",
    "equal": "Use tgs.equal(x, y), or (x == y).all().",
    "nelement": "Use x.numel().",
    "ndimension": "Use x.dim().",
    "finfo": "Use np.finfo(x.dtype).",
    "iinfo": "Use np.iinfo(x.dtype).",
    "inf": "Use math.inf.",
    "nan": "Use math.nan.",
    "pi": "Use math.pi.",
    "e": "Use math.e.",
    "Size": "A shape is a tuple.",
    "set_printoptions": "Use np.set_printoptions.",
    "set_num_threads": "Set OMP_NUM_THREADS before the start, or tgs train --threads.",
    "get_num_threads": "tgs doctor says what runs.",
    "use_deterministic_algorithms": "Results are the same to the bit from run to run as it is.",
    "initial_seed": "manual_seed(seed) sets it; a Generator knows its own as .seed.",
    "seed": "manual_seed(seed) sets it.",
    "BCELoss": "Use BCEWithLogitsLoss on the numbers before the sigmoid: it keeps the digits that sigmoid loses.",
    "binary_cross_entropy": "Use binary_cross_entropy_with_logits on the numbers before the sigmoid.",
    "SmoothL1Loss": "Use L1Loss or MSELoss, or where(d.abs() < 1, d * d / 2, d.abs() - 0.5).mean().",
    "HuberLoss": "Use L1Loss or MSELoss, or where(d.abs() < 1, d * d / 2, d.abs() - 0.5).mean().",
    "smooth_l1_loss": "Use l1_loss or mse_loss, or where(d.abs() < 1, d * d / 2, d.abs() - 0.5).mean().",
    "huber_loss": "Use l1_loss or mse_loss, or where(d.abs() < 1, d * d / 2, d.abs() - 0.5).mean().",
    "KLDivLoss": "Use (p * (p.log() - logq)).sum(-1).mean(); cross_entropy takes probabilities too.",
    "kl_div": "Use (p * (p.log() - logq)).sum(-1).mean(); cross_entropy takes probabilities too.",
    "LeakyReLU": "Use where(x > 0, x, 0.01 * x); as modules there are ReLU, GELU, SiLU, Softplus.",
    "leaky_relu": "Use where(x > 0, x, 0.01 * x).",
    "ELU": "Use where(x > 0, x, x.exp() - 1); as modules there are ReLU, GELU, SiLU, Softplus.",
    "elu": "Use where(x > 0, x, x.exp() - 1).",
    "pad": "Use cat([x, zeros(...)], dim).",
    "normalize": "Use x / x.norm(dim=-1, keepdim=True).",
    "cosine_similarity": "Use (x * y).sum(-1) / (x.norm(dim=-1) * y.norm(dim=-1)).",
    "pad_sequence": "Layers take lengths=, and tgs.data makes batches of one length.",
    "pack_padded_sequence": "Layers take lengths=, without sorting or packing.",
    "rnn": "Layers take lengths=, without sorting, padding or packing.",
    "CosineAnnealingLR": "CosineWithWarmup is near it.",
    "Adadelta": "There are SGD, Adam, AdamW, RMSprop and Adagrad.",
    "LBFGS": "There are SGD, Adam, AdamW, RMSprop and Adagrad.",
    "NAdam": "There are SGD, Adam, AdamW, RMSprop and Adagrad.",
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
    """A missing attribute. Its text is built when it is read, because `hasattr` never reads it."""

    def __init__(self, owner: str, name: str, names: Callable[[], Iterable[str]]):
        super().__init__(f"{owner} has no attribute {name!r}", name=name)
        self.wanted, self.names = name, names

    def __reduce__(self) -> Any:
        return AttributeError, (str(self),)

    def __str__(self) -> str:
        if self.wanted.startswith("__"):
            return str(self.args[0])
        from difflib import get_close_matches  # imported only for an error

        near = get_close_matches(self.wanted, [n for n in self.names() if not n.startswith("_")], 3, 0.75)
        lines = [f"{self.args[0]}."]
        if near:
            lines.append(f"  near it: {', '.join(near)}.")
        if self.wanted in _INSTEAD:
            lines.append(f"  {_INSTEAD[self.wanted]}")
        lines.append("  docs/from_pytorch.md says what stands for PyTorch's names.")
        return "\n".join(lines)


def missing(owner: str, name: str, names: Callable[[], Iterable[str]]) -> AttributeError:
    """The error for a missing attribute: near names, a replacement, and where to read more."""
    return NameMissing(owner, name, names)


class Absent:
    """An attribute that a class has not: asking for it raises the error of `missing`, and `hasattr` is False."""

    __slots__ = ("name", "owner")

    def __init__(self, owner: str, name: str):
        self.owner, self.name = owner, name

    def __get__(self, instance: object, cls: type) -> Any:
        raise missing(self.owner, self.name, lambda: [n for n in dir(cls) if hasattr(cls, n)])


def tell_of_absent(cls: type, owner: str) -> None:
    """Let a class say what stands for each name of PyTorch's that it has not.

    A `__getattr__` would do that for every name, but Python before 3.12 reads each attribute of such a class at a
    fifth of the speed: an op would take a tenth more time.
    """
    for name in _INSTEAD:
        if not hasattr(cls, name):
            setattr(cls, name, Absent(owner, name))
    cls.__dir__ = _present  # type: ignore[assignment]


def _present(self: object) -> list[str]:
    """The attributes of an object that are there."""
    own = getattr(self, "__dict__", ())
    return [name for name in object.__dir__(self) if name in own or hasattr(type(self), name)]
