"""Attention and Transformers against PyTorch by loaded weights: outputs, weights and all gradients."""

import itertools

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import tinygrad_seq as tgs
from tinygrad_seq import functional as F
from tinygrad_seq.nn.masks import generate_square_subsequent_mask
from tinygrad_seq.nn.multihead_attention import MultiheadAttention
from tinygrad_seq.nn.transformer import Transformer, TransformerDecoder, TransformerEncoder
from tinygrad_seq.nn.transformer_layers import TransformerDecoderLayer, TransformerEncoderLayer

TOLERANCE = {"float32": 1e-5, "float64": 1e-10}
both_dtypes = pytest.mark.parametrize("dtype", ["float32", "float64"])


def agree(mine, other, dtype):
    """Within the tolerance of the dtype, relative to the largest entry."""
    other = other.detach().numpy()
    assert mine.shape == other.shape
    scale = max(1, np.abs(other).max(initial=0))
    np.testing.assert_allclose(mine.numpy(), other, rtol=0, atol=TOLERANCE[dtype] * scale)


def paired(dtype, *shapes, seed=0):
    """The same random arrays as leaves on both sides."""
    rng = np.random.default_rng(seed)
    arrays = [rng.standard_normal(s).astype(dtype) for s in shapes]
    return [tgs.tensor(a, requires_grad=True) for a in arrays], [
        torch.tensor(a, requires_grad=True) for a in arrays
    ]


def loaded(ours, theirs, dtype):
    """Both in this dtype, with one set of weights: no bias is zero, no scale is one."""
    theirs = theirs.to(getattr(torch, dtype))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in theirs.parameters():
            p.add_(torch.randn(p.shape, generator=generator, dtype=p.dtype) * 0.3)
    ours = ours.to(dtype)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def backwards_agree(mine, other, outs, their_outs, ours, theirs, dtype):
    """Outputs, and the gradients of a curved function of them at every input and parameter."""
    total, their_total = 0.0, 0.0
    for a, b in zip(outs, their_outs, strict=True):
        agree(a, b, dtype)
        # A mean of squares alone would hardly move behind a LayerNorm.
        total, their_total = (
            total + (a**3).mean() + (a * a).mean(),
            their_total + (b**3).mean() + (b * b).mean(),
        )
    total.backward()
    their_total.backward()
    for a, b in zip(mine, other, strict=True):
        agree(a.grad, b.grad, dtype)
    if ours is not None:
        named = dict(theirs.named_parameters())
        for name, p in ours.named_parameters():
            agree(p.grad, named.pop(name).grad, dtype)
        assert not named


# ---- scaled_dot_product_attention ------------------------------------------------------------------------
BOOLEAN = np.random.default_rng(5).random((5, 7)) < 0.6
BOOLEAN[:, 0] = True
FLOATS = np.random.default_rng(6).standard_normal((2, 1, 5, 7))
SDPA = {
    "plain": ((2, 3, 5, 4), (2, 3, 7, 4), (2, 3, 7, 6), {}),
    "no batch": ((5, 4), (7, 4), (7, 4), {}),
    "scale": ((2, 5, 4), (2, 7, 4), (2, 7, 3), {"scale": 0.3}),
    "boolean mask": ((2, 3, 5, 4), (2, 3, 7, 4), (2, 3, 7, 4), {"attn_mask": BOOLEAN}),
    "float mask": ((2, 3, 5, 4), (2, 3, 7, 4), (2, 3, 7, 4), {"attn_mask": FLOATS}),
    "causal": ((2, 3, 5, 4), (2, 3, 5, 4), (2, 3, 5, 4), {"is_causal": True}),
    "causal, more keys": ((2, 5, 4), (2, 7, 4), (2, 7, 4), {"is_causal": True}),
    "causal, more queries": ((2, 7, 4), (2, 5, 4), (2, 5, 4), {"is_causal": True}),
    "one query": ((2, 3, 1, 4), (2, 3, 7, 4), (2, 3, 7, 4), {}),
    "one key": ((2, 3, 5, 4), (2, 3, 1, 4), (2, 3, 1, 4), {}),
    "grouped": ((2, 6, 5, 4), (2, 2, 7, 4), (2, 2, 7, 3), {"enable_gqa": True}),
    "grouped, masked": ((2, 6, 5, 4), (2, 2, 7, 4), (2, 2, 7, 4), {"enable_gqa": True, "attn_mask": BOOLEAN}),
    "grouped, one key head": ((2, 6, 5, 4), (2, 1, 7, 4), (2, 1, 7, 4), {"enable_gqa": True}),
    "the assignment's sizes": ((3, 5, 30, 128), (3, 5, 50, 128), (3, 5, 50, 256), {}),
}


@both_dtypes
@pytest.mark.parametrize("name", SDPA)
def test_sdpa_equals_pytorchs(name, dtype):
    """Output and the gradients of query, key and value."""
    *shapes, settings = SDPA[name]
    mine, other = paired(dtype, *shapes)
    theirs = dict(settings)
    if "attn_mask" in settings:
        mask = settings["attn_mask"]
        mask = mask if mask.dtype == bool else mask.astype(dtype)
        settings, theirs = {**settings, "attn_mask": mask}, {**theirs, "attn_mask": torch.tensor(mask)}
    out = F.scaled_dot_product_attention(*mine, **settings)
    their_out = torch.nn.functional.scaled_dot_product_attention(*other, **theirs)
    backwards_agree(mine, other, [out], [their_out], None, None, dtype)


def test_a_learnt_float_mask_gets_its_gradient():
    """As a bias table would."""
    (*qkv, mask), (*their_qkv, their_mask) = paired(
        "float64", (2, 3, 5, 4), (2, 3, 7, 4), (2, 3, 7, 4), (3, 5, 7)
    )
    F.scaled_dot_product_attention(*qkv, attn_mask=mask).sum().backward()
    torch.nn.functional.scaled_dot_product_attention(*their_qkv, attn_mask=their_mask).sum().backward()
    agree(mask.grad, their_mask.grad, "float64")


# ---- MultiheadAttention ----------------------------------------------------------------------------------
E, HEADS, B, L, S = 6, 2, 3, 4, 5


def mha_masks(name, steps):
    """PyTorch's masks by name, for L queries and this many keys; some key is always free."""
    rng = np.random.default_rng(9)
    blocked = rng.random((L, steps)) < 0.4
    blocked[:, 0] = False
    per_head = rng.random((B * HEADS, L, steps)) < 0.4
    per_head[:, :, 0] = False
    floats = rng.standard_normal((L, steps))
    padded = np.zeros((B, steps), bool)
    padded[1, 3:] = padded[2, 1:] = True
    return {
        "none": {},
        "boolean": {"attn_mask": blocked},
        "boolean for each head": {"attn_mask": per_head},
        "float": {"attn_mask": floats},
        "padding": {"key_padding_mask": padded},
        "float padding": {
            "key_padding_mask": np.where(padded, -np.inf, 0.5 * rng.standard_normal((B, steps)))
        },
        "both": {"attn_mask": blocked, "key_padding_mask": padded},
        "both float": {"attn_mask": floats, "key_padding_mask": np.where(padded, -np.inf, 0.0)},
    }[name]


def as_pytorch(masks, dtype):
    """The same masks for both sides, floats in the dtype of the layer."""
    arrays = {n: m if m.dtype == bool else m.astype(dtype) for n, m in masks.items()}
    return arrays, {n: torch.tensor(m) for n, m in arrays.items()}


@pytest.mark.parametrize("sizes", ["equal", "kdim and vdim"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize(
    "mask",
    ["none", "boolean", "boolean for each head", "float", "padding", "float padding", "both", "both float"],
)
@both_dtypes
def test_mha_equals_pytorchs(dtype, mask, batch_first, bias, sizes):
    """Three inputs of their own: output, mean weights, and every gradient."""
    kdim, vdim = (None, None) if sizes == "equal" else (7, 3)
    settings = {"bias": bias, "kdim": kdim, "vdim": vdim, "batch_first": batch_first}
    ours, theirs = loaded(
        MultiheadAttention(E, HEADS, **settings), torch.nn.MultiheadAttention(E, HEADS, **settings), dtype
    )
    shapes = [(L, B, E), (S, B, kdim or E), (S, B, vdim or E)]
    shapes = [(b, t, n) if batch_first else (t, b, n) for t, b, n in shapes]
    mine, other = paired(dtype, *shapes)
    masks, their_masks = as_pytorch(mha_masks(mask, S), dtype)
    outs, their_outs = ours(*mine, **masks), theirs(*other, **their_masks)
    backwards_agree(mine, other, outs, their_outs, ours, theirs, dtype)


@pytest.mark.parametrize("mask", ["none", "boolean", "padding", "both float"])
@pytest.mark.parametrize("extra", ["bias_kv", "zero", "both"])
@both_dtypes
def test_mha_with_keys_of_its_own_equals_pytorchs(dtype, extra, mask):
    """add_bias_kv and add_zero_attn, which every query may attend to."""
    settings = {"add_bias_kv": extra != "zero", "add_zero_attn": extra != "bias_kv"}
    ours, theirs = loaded(
        MultiheadAttention(E, HEADS, **settings), torch.nn.MultiheadAttention(E, HEADS, **settings), dtype
    )
    mine, other = paired(dtype, (L, B, E), (S, B, E), (S, B, E))
    masks, their_masks = as_pytorch(mha_masks(mask, S), dtype)
    outs, their_outs = ours(*mine, **masks), theirs(*other, **their_masks)
    backwards_agree(mine, other, outs, their_outs, ours, theirs, dtype)


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("inputs", ["self", "memory", "unbatched", "each head"])
@both_dtypes
def test_mha_of_shared_and_unbatched_inputs_equals_pytorchs(dtype, inputs, batch_first):
    """One input for all three, one for key and value, no batch axis, weights of each head."""
    ours, theirs = loaded(
        MultiheadAttention(E, HEADS, batch_first=batch_first),
        torch.nn.MultiheadAttention(E, HEADS, batch_first=batch_first),
        dtype,
    )
    shapes = [(L, E), (S, E)] if inputs == "unbatched" else [(L, B, E), (S, B, E)]
    if batch_first and inputs != "unbatched":
        shapes = [(b, t, n) for t, b, n in shapes]
    mine, other = paired(dtype, *shapes[: 1 if inputs == "self" else 2])
    calls = [(x[0], x[0], x[0]) if inputs == "self" else (x[0], x[1], x[1]) for x in (mine, other)]
    settings = {"average_attn_weights": False} if inputs == "each head" else {}
    outs, their_outs = ours(*calls[0], **settings), theirs(*calls[1], **settings)
    backwards_agree(mine, other, outs, their_outs, ours, theirs, dtype)


@both_dtypes
def test_is_causal_beside_a_causal_mask(dtype):
    """PyTorch's hint, with the mask that it speaks of, with and without weights."""
    ours, theirs = loaded(MultiheadAttention(E, HEADS), torch.nn.MultiheadAttention(E, HEADS), dtype)
    (x,), (y,) = paired(dtype, (L, B, E))
    blocked = np.triu(np.ones((L, L), bool), 1)
    for need in (True, False):
        a, _ = ours(x, x, x, attn_mask=blocked, is_causal=True, need_weights=need)
        b, _ = theirs(y, y, y, attn_mask=torch.tensor(blocked), is_causal=True, need_weights=need)
        agree(a, b, dtype)
    agree(ours(x, need_weights=False, causal=True)[0], b, dtype)


def test_second_derivatives_through_mha():
    """The gradient of the squared norm of all gradients."""
    ours, theirs = loaded(MultiheadAttention(E, HEADS), torch.nn.MultiheadAttention(E, HEADS), "float64")
    mine, other = paired("float64", (L, B, E), (S, B, E))
    masks, their_masks = as_pytorch(mha_masks("both", S), "float64")
    out = ours(mine[0], mine[1], **masks)[0]
    their_out = theirs(other[0], other[1], other[1], **their_masks)[0]
    ps, their_ps = [*mine, *ours.parameters()], [*other, *theirs.parameters()]
    gs = tgs.grad((out**3).sum(), ps, create_graph=True)
    their_gs = torch.autograd.grad((their_out**3).sum(), their_ps, create_graph=True)
    seconds = tgs.grad(sum((g * g).sum() for g in gs), ps)
    their_seconds = torch.autograd.grad(sum((g * g).sum() for g in their_gs), their_ps)
    for a, b in zip([*gs, *seconds], [*their_gs, *their_seconds], strict=True):
        agree(a, b, "float64")


def test_mha_draws_as_pytorch_draws():
    """Xavier over the packed matrix, zero biases, the output as any Linear, bias_k as wide as PyTorch's."""
    tgs.manual_seed(0)
    layer = MultiheadAttention(96, 4, add_bias_kv=True)
    bound = (6 / (4 * 96)) ** 0.5
    drawn = np.abs(layer.in_proj_weight.numpy())
    assert 0.98 * bound < drawn.max() <= bound
    assert abs(drawn.mean() - bound / 2) < 0.01 * bound
    assert not layer.in_proj_bias.numpy().any()
    assert not layer.out_proj.bias.numpy().any()
    assert 0.98 * 96**-0.5 < np.abs(layer.out_proj.weight.numpy()).max() <= 96**-0.5
    assert 0.8 < layer.bias_k.numpy().std() * 96**0.5 < 1.2
    apart = MultiheadAttention(96, 4, kdim=30)
    assert 0.98 < np.abs(apart.k_proj_weight.numpy()).max() / (6 / 126) ** 0.5 <= 1


# ---- Transformer layers ----------------------------------------------------------------------------------
each_layer = pytest.mark.parametrize(
    ("norm_first", "activation", "bias"),
    list(itertools.product([True, False], ["relu", "gelu"], [True, False])),
)


@each_layer
@pytest.mark.parametrize("masked", [False, True])
@both_dtypes
def test_encoder_layer_equals_pytorchs(dtype, masked, norm_first, activation, bias):
    """Output and every gradient, in training mode without dropout."""
    settings = (E, HEADS, 8, 0.0, activation, 1e-4, norm_first, norm_first, bias)
    ours, theirs = loaded(
        TransformerEncoderLayer(*settings), torch.nn.TransformerEncoderLayer(*settings), dtype
    )
    mine, other = paired(dtype, (B, L, E) if norm_first else (L, B, E))
    masks, their_masks = as_pytorch(mha_masks("both", L) if masked else {}, dtype)
    for m in (masks, their_masks):
        if masked:
            m["src_mask"], m["src_key_padding_mask"] = m.pop("attn_mask"), m.pop("key_padding_mask")
    outs, their_outs = [ours(mine[0], **masks)], [theirs(other[0], **their_masks)]
    backwards_agree(mine, other, outs, their_outs, ours, theirs, dtype)


@each_layer
@pytest.mark.parametrize("masked", [False, True])
@both_dtypes
def test_decoder_layer_equals_pytorchs(dtype, masked, norm_first, activation, bias):
    """Output and every gradient, with a causal target and a padded memory."""
    settings = (E, HEADS, 8, 0.0, activation, 1e-5, not norm_first, norm_first, bias)
    ours, theirs = loaded(
        TransformerDecoderLayer(*settings), torch.nn.TransformerDecoderLayer(*settings), dtype
    )
    shapes = [(L, B, E), (S, B, E)] if norm_first else [(B, L, E), (B, S, E)]
    mine, other = paired(dtype, *shapes)
    masks = {}
    if masked:
        masks = {
            "tgt_mask": np.triu(np.ones((L, L), bool), 1),
            "memory_mask": mha_masks("boolean", S)["attn_mask"],
            "memory_key_padding_mask": mha_masks("padding", S)["key_padding_mask"],
            "tgt_key_padding_mask": np.array([[False] * L, [False] * 2 + [True] * 2, [False] * L]),
        }
    masks, their_masks = as_pytorch(masks, dtype)
    outs = [ours(*mine, **masks)]
    their_outs = [theirs(*other, **their_masks)]
    backwards_agree(mine, other, outs, their_outs, ours, theirs, dtype)


# PyTorch says that its quick way through nested tensors is closed to these settings.
quick_way_closed = pytest.mark.filterwarnings("ignore:enable_nested_tensor is True")


@quick_way_closed
@pytest.mark.parametrize("norm", [False, True])
@both_dtypes
def test_stacks_equal_pytorchs(dtype, norm):
    """Encoder and decoder of three layers, with and without a norm behind the last."""
    layer = (E, HEADS, 8, 0.0)
    n = (tgs.nn.LayerNorm(E), torch.nn.LayerNorm(E)) if norm else (None, None)
    ours, theirs = loaded(
        TransformerEncoder(TransformerEncoderLayer(*layer), 3, n[0]),
        torch.nn.TransformerEncoder(torch.nn.TransformerEncoderLayer(*layer), 3, n[1]),
        dtype,
    )
    mine, other = paired(dtype, (L, B, E))
    masks, their_masks = as_pytorch(mha_masks("boolean", L), dtype)
    outs, their_outs = [ours(mine[0], masks["attn_mask"])], [theirs(other[0], their_masks["attn_mask"])]
    backwards_agree(mine, other, outs, their_outs, ours, theirs, dtype)
    n = (tgs.nn.LayerNorm(E), torch.nn.LayerNorm(E)) if norm else (None, None)
    ours, theirs = loaded(
        TransformerDecoder(TransformerDecoderLayer(*layer), 3, n[0]),
        torch.nn.TransformerDecoder(torch.nn.TransformerDecoderLayer(*layer), 3, n[1]),
        dtype,
    )
    mine, other = paired(dtype, (L, B, E), (S, B, E))
    backwards_agree(mine, other, [ours(*mine)], [theirs(*other)], ours, theirs, dtype)


@quick_way_closed
@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
@both_dtypes
def test_the_whole_transformer_equals_pytorchs(dtype, batch_first, norm_first):
    """All masks at once, and every gradient; our own masks give the same."""
    settings = (E, HEADS, 2, 2, 8, 0.0, "gelu", None, None, 1e-5, batch_first, norm_first)
    ours, theirs = loaded(Transformer(*settings), torch.nn.Transformer(*settings), dtype)
    shapes = [(B, S, E), (B, L, E)] if batch_first else [(S, B, E), (L, B, E)]
    mine, other = paired(dtype, *shapes)
    padded = mha_masks("padding", S)["key_padding_mask"]
    theirs_of = torch.nn.Transformer.generate_square_subsequent_mask(L, dtype=getattr(torch, dtype))
    causal = generate_square_subsequent_mask(L, dtype)
    np.testing.assert_array_equal(causal.numpy(), theirs_of.numpy())
    floats = np.where(padded, -np.inf, 0.0).astype(dtype)
    out = ours(*mine, tgt_mask=causal, src_key_padding_mask=padded, memory_key_padding_mask=padded)
    their_out = theirs(
        *other,
        tgt_mask=theirs_of,
        src_key_padding_mask=torch.tensor(floats),
        memory_key_padding_mask=torch.tensor(floats),
    )
    own = ours(*mine, causal=True, src_lengths=[S, 3, 1])
    agree(own, their_out, dtype)
    backwards_agree(mine, other, [out], [their_out], ours, theirs, dtype)


@quick_way_closed
def test_our_weights_load_into_pytorch():
    """The other way round, and drawn by the same rule: every matrix within Xavier's bound, and filling it."""
    tgs.manual_seed(3)
    ours = Transformer(16, 4, 2, 2, 32, 0.0)
    theirs = torch.nn.Transformer(16, 4, 2, 2, 32, 0.0)
    theirs.load_state_dict({name: torch.tensor(t.numpy()) for name, t in ours.state_dict().items()})
    mine, other = paired("float32", (5, 2, 16), (4, 2, 16))
    agree(ours(*mine), theirs(*other), "float32")
    for name, p in ours.named_parameters():
        if p.ndim > 1:
            bound = (6 / sum(p.shape)) ** 0.5
            assert 0.95 * bound < np.abs(p.numpy()).max() <= bound, name
