"""Attention by its laws: against NumPy, masks, caches, empty rows, derivatives, positions, and what is refused."""

import numpy as np
import pytest

import tinygrad_seq as tgs
from tests.composed_cases import with_weights
from tinygrad_seq import functional as F
from tinygrad_seq.nn.multihead_attention import MultiheadAttention
from tinygrad_seq.nn.positions import (
    ALiBi,
    LearnedPositions,
    RotaryPositions,
    SinusoidalPositions,
    sinusoidal,
)

pytestmark = [pytest.mark.engine, pytest.mark.laws]

attention = F.scaled_dot_product_attention


def drawn(*shapes, dtype="float64", seed=0, wants=False):
    """Random tensors."""
    rng = np.random.default_rng(seed)
    return [tgs.tensor(rng.standard_normal(s).astype(dtype), requires_grad=wants) for s in shapes]


def by_loops(q, k, v, allowed, scale):
    """Attention of one head as the notes write it, query by query."""
    out, weights = np.zeros((len(q), v.shape[1])), np.zeros((len(q), len(k)))
    for i, query in enumerate(q):
        seen = [j for j in range(len(k)) if allowed[i, j]]
        e = np.array([np.exp(query @ k[j] * scale) for j in seen])
        for j, share in zip(seen, e / e.sum() if seen else [], strict=True):
            weights[i, j] = share
            out[i] += share * v[j]
    return out, weights


# ---- the maths ---------------------------------------------------------------------------------------------
MASKS = {
    "none": ({}, np.ones((4, 6), bool)),
    "allow": ({"allow": np.tri(4, 6, 1, dtype=bool)}, np.tri(4, 6, 1, dtype=bool)),
    "causal ends at the last key": ({"causal": True}, np.tri(4, 6, 2, dtype=bool)),
    "both": (
        {"causal": True, "allow": np.arange(6) != 1},
        np.tri(4, 6, 2, dtype=bool) & (np.arange(6) != 1),
    ),
    "PyTorch's causal starts at the first key": ({"is_causal": True}, np.tri(4, 6, dtype=bool)),
    "an empty row": (
        {"allow": np.arange(4).reshape(-1, 1) != 2},
        np.tile(np.arange(4)[:, None] != 2, (1, 6)),
    ),
}


@pytest.mark.parametrize("composed", [False, True])
@pytest.mark.parametrize("name", MASKS)
def test_attention_is_its_formula(name, composed):
    """Output and weights equal the loops to 1e-12, by kernel and composed; d_v is not d_k."""
    settings, allowed = MASKS[name]
    q, k, v = drawn((2, 3, 4, 5), (2, 3, 6, 5), (2, 3, 6, 7))
    if composed:
        with tgs.composed():
            out, weights = attention(q, k, v, return_weights=True, **settings)
    else:
        out, weights = attention(q, k, v, return_weights=True, **settings)
    for b, h in np.ndindex(2, 3):
        expected = by_loops(q.numpy()[b, h], k.numpy()[b, h], v.numpy()[b, h], allowed, 5**-0.5)
        np.testing.assert_allclose(out.numpy()[b, h], expected[0], atol=1e-12)
        np.testing.assert_allclose(weights.numpy()[b, h], expected[1], atol=1e-12)


@pytest.mark.parametrize("way", ["allow", "bias", "attn_mask of booleans", "attn_mask of floats", "causal"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_row_without_keys_is_zero_in_value_and_gradient(way, dtype):
    """No NaN either, at order 1 and 2; the other rows do as if it were not there."""
    q, k, v = drawn((3, 4), (2, 4), (2, 4), dtype=dtype, wants=True)
    allowed = np.array([[False, False], [True, False], [True, True]])
    floats = np.where(allowed, 0.0, -np.inf).astype(dtype)
    settings = {
        "allow": {"allow": allowed},
        "bias": {"bias": floats},
        "attn_mask of booleans": {"attn_mask": allowed},
        "attn_mask of floats": {"attn_mask": floats},
        "causal": {"causal": True},
    }[way]
    out, weights = attention(q, k, v, return_weights=True, **settings)
    assert not out.numpy()[0].any()
    assert not weights.numpy()[0].any()
    gs = tgs.grad((out * out).sum() + (out**3).sum(), [q, k, v], create_graph=True)
    seconds = tgs.grad(sum((g * g).sum() for g in gs), [q, k, v])
    for g in (*gs, *seconds):
        assert np.isfinite(g.numpy()).all()
    assert not gs[0].numpy()[0].any()
    assert not seconds[0].numpy()[0].any()
    rest = attention(q[1:], k, v, allow=allowed[1:])
    np.testing.assert_allclose(out.numpy()[1:], rest.numpy(), rtol=1e-5 if dtype == "float32" else 1e-12)
    alone = tgs.grad((attention(q[:1], k, v, allow=allowed[:1]) ** 2).sum(), [q, k, v])
    assert not any(g.numpy().any() for g in alone)


def test_grouped_queries_are_repeated_keys():
    """A key for three heads equals the key given three times, gradients summed; masks are for each head."""
    q, k, v = drawn((2, 6, 4, 3), (2, 2, 5, 3), (2, 2, 5, 2), wants=True)
    allow = np.random.default_rng(1).random((2, 6, 4, 5)) < 0.7
    out, weights = attention(q, k, v, allow=allow, enable_gqa=True, return_weights=True)
    repeated = [tgs.tensor(np.repeat(t.numpy(), 3, 1), requires_grad=True) for t in (k, v)]
    expected, their_weights = attention(q, *repeated, allow=allow, return_weights=True)
    np.testing.assert_allclose(out.numpy(), expected.numpy(), atol=1e-12)
    np.testing.assert_allclose(weights.numpy(), their_weights.numpy(), atol=1e-12)
    mine = tgs.grad((out**3).sum(), [k, v])
    theirs = tgs.grad((expected**3).sum(), repeated)
    for a, b in zip(mine, theirs, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy().reshape(2, 2, 3, *b.shape[2:]).sum(2), atol=1e-10)


def test_dropout_zeroes_weights_and_scales_the_rest():
    """Of 40,000 equal weights about 0.3 are zero, the others are 1 / 0.7 of themselves; p = 1 leaves nothing."""
    x = tgs.zeros(200, 3)
    _, weights = attention(x, x, x, dropout_p=0.3, return_weights=True, rng=tgs.Generator(1))
    values = np.unique(weights.numpy())
    np.testing.assert_allclose(values, [0.0, 1 / 200 / 0.7], rtol=1e-6)
    assert abs((weights.numpy() == 0).mean() - 0.3) < 0.01
    again = attention(x, x, x, dropout_p=0.3, return_weights=True, rng=tgs.Generator(1))[1]
    np.testing.assert_array_equal(weights.numpy(), again.numpy())
    assert not attention(x + 1, x + 1, x + 1, dropout_p=1.0).numpy().any()


def test_large_scores_stay_finite():
    """Scores of 1e4 in float32, in value and in gradient."""
    q, k, v = drawn((3, 4), (5, 4), (5, 4), dtype="float32", wants=True)
    out = attention(q * 1e4, k * 1e4, v, causal=True)
    out.sum().backward()
    assert all(np.isfinite(t.numpy()).all() for t in (out, q.grad, k.grad, v.grad))


@pytest.mark.parametrize(
    "shapes",
    [
        ((1, 1), (1, 1), (1, 1)),
        ((0, 3, 4), (0, 5, 4), (0, 5, 4)),
        ((2, 0, 4), (2, 5, 4), (2, 5, 4)),
        ((2, 3, 4), (2, 0, 4), (2, 0, 4)),
        ((3, 4), (5, 4), (5, 0)),
    ],
    ids=["one of all", "no sequences", "no queries", "no keys", "no features"],
)
def test_sizes_of_one_and_none(shapes):
    """Shapes hold, sums over no keys are zero, and gradients come back."""
    inputs = drawn(*shapes, wants=True)
    out = attention(*inputs, causal=True)
    assert out.shape == (*shapes[0][:-1], shapes[2][-1])
    (out * out).sum().backward()
    assert [x.grad.shape for x in inputs] == list(shapes)
    if shapes[1][-2] == 0:
        assert not out.numpy().any()


CHECKED = {
    "plain": {},
    "causal": {"causal": True},
    "allow": {"allow": np.array([[True, False, True, True], [False] * 4, [True] * 4])},
    "scale and bias": {"scale": 0.7, "bias": np.random.default_rng(3).standard_normal((3, 4))},
    "dropout": {"dropout_p": 0.4},
}


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("name", CHECKED)
def test_gradcheck_of_attention(name, order):
    """In float64, every operand; a row without keys included."""
    qkv = drawn((2, 3, 2), (2, 4, 2), (2, 4, 3), wants=True)
    assert tgs.gradcheck(lambda q, k, v: attention(q, k, v, **CHECKED[name]), qkv, order=order)


@pytest.mark.parametrize("order", [1, 2])
def test_gradcheck_of_a_learnt_bias(order):
    """A bias that broadcasts over the batch gets the sum."""
    inputs = drawn((2, 3, 2), (2, 4, 2), (2, 4, 3), (3, 4), wants=True)
    assert tgs.gradcheck(lambda q, k, v, b: attention(q, k, v, bias=b, causal=True), inputs, order=order)


# ---- MultiheadAttention --------------------------------------------------------------------------------------
def test_eight_heads_of_size_three_on_five_features():
    """The notes' example: (2, 3) x 8 heads, (2, 24) @ (24, 5) -> (2, 5), and equal to a loop over the heads."""
    tgs.manual_seed(0)
    layer = MultiheadAttention(5, 8, head_dim=3, out_dim=5).double()
    (x,) = drawn((2, 5))
    out, weights = layer(x, average_attn_weights=False)
    assert (out.shape, weights.shape, layer.out_proj.weight.shape) == ((2, 5), (8, 2, 2), (5, 24))
    q, k, v = np.split(x.numpy() @ layer.in_proj_weight.numpy().T + layer.in_proj_bias.numpy(), 3, -1)
    heads = [
        by_loops(*(m[:, 3 * h : 3 * h + 3] for m in (q, k, v)), np.ones((2, 2), bool), 3**-0.5)[0]
        for h in range(8)
    ]
    laid = np.concatenate(heads, -1)
    assert laid.shape == (2, 24)
    np.testing.assert_allclose(out.numpy(), laid @ layer.out_proj.weight.numpy().T, atol=1e-12)


LAYERS = {
    "batch first": {"batch_first": True},
    "free form, its own keys": {"head_dim": 3, "out_dim": 2, "add_bias_kv": True, "add_zero_attn": True},
    "rotary": {"positions": "rotary"},
    "alibi": {"positions": "alibi", "bias": False},
}


def layer_of(settings, width=4, heads=2):
    """A layer in float64 whose biases are not zero."""
    tgs.manual_seed(1)
    head = settings.get("head_dim", width // heads)
    positions = {"rotary": RotaryPositions(head), "alibi": ALiBi(heads), None: None}[
        settings.get("positions")
    ]
    layer = MultiheadAttention(width, heads, **{**settings, "positions": positions}).double()
    for p in layer.parameters():
        p.assign(p.numpy() + np.random.default_rng(p.size).standard_normal(p.shape) * 0.3)
    return layer


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("name", LAYERS)
def test_gradcheck_of_multihead_attention(name, order):
    """Input and every parameter."""
    layer = layer_of(LAYERS[name])
    fn, shapes = with_weights(layer)
    if name == "batch first":
        masks = {"allow": np.tri(3, dtype=bool)[None] & np.array([True, False])[:, None, None]}
        inner, layer.forward = layer.forward, lambda x: inner(x, **masks)  # the second sequence sees nothing
    assert tgs.gradcheck(fn, drawn((2, 3, 4), *shapes, wants=True), order=order)


@pytest.mark.parametrize("name", [*LAYERS, "plain"])
@pytest.mark.parametrize("pieces", [[1] * 7, [3, 1, 3], [7]])
def test_cached_is_uncached(name, pieces):
    """To 1e-12 in float64: a causal layer fed in pieces, value and gradient of what came first."""
    settings = LAYERS.get(name, {})
    layer = layer_of(settings)
    axis = 1 if settings.get("batch_first") else 0
    (x,) = drawn((2, 7, 4) if axis else (7, 2, 4), wants=True)
    whole, _ = layer(x, causal=True)
    cache, outs, start = (), [], 0
    for n in pieces:
        piece = x[:, start : start + n] if axis else x[start : start + n]
        out, weights, cache = layer(piece, causal=True, cache=cache, need_weights=n == 3)
        assert (weights is not None) == (n == 3)
        outs.append(out)
        start += n
    joined = tgs.concat(outs, axis)
    np.testing.assert_allclose(joined.numpy(), whole.numpy(), atol=1e-12)
    np.testing.assert_allclose(
        tgs.grad((joined**2).sum(), x).numpy(), tgs.grad((whole**2).sum(), x).numpy(), atol=1e-11
    )


def test_projected_keys_are_the_keys():
    """A memory projected once gives what it gives each time."""
    layer = layer_of({"kdim": 3, "vdim": 5})
    q, k, v = drawn((3, 2, 4), (6, 2, 3), (6, 2, 5))
    np.testing.assert_allclose(
        layer(q, projected=layer.project(k, v))[0].numpy(), layer(q, k, v)[0].numpy(), atol=1e-14
    )


@pytest.mark.parametrize("batch_first", [False, True])
def test_beyond_a_length_nothing_matters(batch_first):
    """Each row equals that row alone; NaN in the padding changes nothing, in value and gradient; length 0 gives 0."""
    layer = layer_of({"batch_first": batch_first})
    lengths = [5, 2, 0]
    (x,) = drawn((3, 5, 4))
    padded = x.numpy().copy()
    for b, n in enumerate(lengths):
        padded[b, n:] = np.nan
    results = []
    for array in (x.numpy(), padded):
        t = tgs.tensor(array if batch_first else array.swapaxes(0, 1), requires_grad=True)
        out, weights = layer(t, lengths=lengths)
        ps = [t, *layer.parameters()]
        results.append([out, weights, *tgs.grad((out**3).sum(), ps)])
    for clean, dirty in zip(*results, strict=True):
        np.testing.assert_array_equal(clean.numpy(), dirty.numpy())
    out = results[0][0].numpy() if batch_first else results[0][0].numpy().swapaxes(0, 1)
    for b, n in enumerate(lengths[:2]):
        np.testing.assert_allclose(out[b, :n], layer(x[b, :n])[0].numpy(), atol=1e-12)
    assert all(not out[b, n:].any() for b, n in enumerate(lengths))
    given = x if batch_first else x.transpose(0, 1)
    padding = np.arange(5) >= np.array(lengths[:2])[:, None]
    theirs = layer(given[:2] if batch_first else given[:, :2], key_padding_mask=padding)[1]
    for b, n in enumerate(lengths[:2]):
        np.testing.assert_allclose(results[0][1].numpy()[b, :n], theirs.numpy()[b, :n], atol=1e-14)


def test_our_masks_say_what_pytorchs_say():
    """allow is not blocked; three axes are one mask for each sequence, four one for each head."""
    layer = layer_of({})
    (x,) = drawn((5, 3, 4))
    blocked = np.random.default_rng(2).random((3 * 2, 5, 5)) < 0.4
    theirs = layer(x, x, x, attn_mask=blocked)
    ours = layer(x, allow=~blocked.reshape(3, 2, 5, 5))
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), atol=1e-14)
    each = ~blocked.reshape(3, 2, 5, 5)[:, 0]
    a, b = layer(x, allow=each)[0], layer(x, allow=np.repeat(each[:, None], 2, 1))[0]
    np.testing.assert_allclose(a.numpy(), b.numpy(), atol=1e-14)


def test_dropout_acts_in_training_alone():
    """On the weights, which are returned as used."""
    layer = MultiheadAttention(4, 2, dropout=0.5)
    x = tgs.randn(20, 1, 4)
    weights = layer(x, average_attn_weights=False)[1].numpy()
    assert 0.35 < (weights == 0).mean() < 0.65
    assert (layer.eval()(x)[1].numpy() > 0).all()


def test_attention_without_positions_is_a_bag():
    """Permuted in, permuted out; a rotary layer knows the order."""
    order = np.array([2, 0, 3, 1])
    (x,) = drawn((4, 1, 4))
    plain, rotary = layer_of({}), layer_of({"positions": "rotary"})
    np.testing.assert_allclose(plain(x)[0].numpy()[order], plain(x[order])[0].numpy(), atol=1e-13)
    assert np.abs(rotary(x)[0].numpy()[order] - rotary(x[order])[0].numpy()).max() > 1e-3


# ---- positions -----------------------------------------------------------------------------------------------
def test_sinusoidal_positions_are_their_formula():
    """Entry by entry, an odd width included, and from any offset on."""
    table = sinusoidal(6, 5, 3, dtype="float64").numpy()
    for p, i in np.ndindex(6, 5):
        angle = (p + 3) / 10000.0 ** ((i - i % 2) / 5)
        assert abs(table[p, i] - (np.cos(angle) if i % 2 else np.sin(angle))) < 1e-12
    np.testing.assert_array_equal(sinusoidal(9, 4).numpy()[3:], sinusoidal(6, 4, 3).numpy())


def test_what_stands_k_steps_on_is_a_linear_map():
    """One matrix takes every position p to p + 7."""
    now, later = (sinusoidal(40, 8, offset, dtype="float64").numpy() for offset in (0, 7))
    matrix = np.linalg.lstsq(now[:20], later[:20], rcond=None)[0]
    np.testing.assert_allclose(now[20:] @ matrix, later[20:], atol=1e-9)


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("kind", ["sinusoidal", "learnt"])
def test_added_positions_in_pieces(kind, batch_first):
    """Offset by offset, batched and not; each sequence gets the same."""
    if kind == "learnt":
        layer = LearnedPositions(9, 4, batch_first=batch_first)
    else:
        layer = SinusoidalPositions(4, batch_first=batch_first)
    x = tgs.zeros(2, 9, 4) if batch_first else tgs.zeros(9, 2, 4)
    whole = layer(x)
    parts = [layer(x[:, :5]), layer(x[:, 5:], 5)] if batch_first else [layer(x[:5]), layer(x[5:], 5)]
    np.testing.assert_array_equal(whole.numpy(), tgs.concat(parts, 1 if batch_first else 0).numpy())
    rows = layer(tgs.zeros(9, 4)).numpy()
    for b in range(2):
        np.testing.assert_array_equal(whole.numpy()[b] if batch_first else whole.numpy()[:, b], rows)


@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize("width", [1, 4, 5])
def test_rotary_products_know_the_distance_alone(width, interleaved):
    """Norms stay; what queries and keys make, wherever they begin, hangs on i - j; pieces are the whole."""
    turn = RotaryPositions(width, interleaved=interleaved)
    q, k = drawn((width,), (width,))
    qs, ks = (tgs.tensor(np.tile(t.numpy(), (6, 1))) for t in (q, k))
    at_zero, at_nine = (turn(qs, n).numpy() @ turn(ks, n).numpy().T for n in (0, 9))
    np.testing.assert_allclose(at_zero, at_nine, atol=1e-12)
    for d in range(-5, 6):
        assert np.ptp(np.diagonal(at_zero, d)) < 1e-12
    np.testing.assert_allclose(np.linalg.norm(turn(qs).numpy(), axis=-1), np.linalg.norm(qs.numpy(), axis=-1))
    np.testing.assert_array_equal(turn(qs).numpy()[2:], turn(qs[2:], 2).numpy())
    if width == 5:
        np.testing.assert_array_equal(turn(qs).numpy()[:, 4], qs.numpy()[:, 4])


def test_interleaved_pairs_are_neighbors():
    """By complex numbers, as the paper has them."""
    (x,) = drawn((3, 4))
    pairs = x.numpy()[:, 0::2] + 1j * x.numpy()[:, 1::2]
    turned = pairs * np.exp(1j * np.arange(2, 5).reshape(-1, 1) / 10000.0 ** (np.arange(0, 4, 2) / 4))
    out = RotaryPositions(4, interleaved=True)(x, 2).numpy()
    np.testing.assert_allclose(out, np.stack([turned.real, turned.imag], -1).reshape(3, 4), atol=1e-12)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("interleaved", [False, True])
def test_gradcheck_of_rotary_positions(interleaved, order):
    """An odd width, behind something curved."""
    turn = RotaryPositions(5, interleaved=interleaved)
    assert tgs.gradcheck(lambda x: turn(x.tanh(), 2) ** 2, drawn((2, 3, 5), wants=True), order=order)


def test_alibi_falls_by_the_paper_s_slopes():
    """Eight heads: 1/2 .. 1/256; six of them as the paper's rule has it; queries stand at the end."""
    np.testing.assert_allclose(ALiBi(8).slopes, 0.5 ** np.arange(1, 9))
    np.testing.assert_allclose(ALiBi(6).slopes, [2**-2.0, 2**-4.0, 2**-6.0, 2**-8.0, 2**-1.0, 2**-3.0])
    bias = ALiBi(2)(2, 4).numpy()
    np.testing.assert_allclose(bias[0] * 16, [[-2, -1, 0, -1], [-3, -2, -1, 0]])
    np.testing.assert_array_equal(ALiBi(2)(2, 4, 2).numpy(), bias)


# ---- what is refused -----------------------------------------------------------------------------------------
X, Q = np.zeros((2, 3, 4), "f"), np.zeros((3, 4), "f")
BLOCKED = np.zeros((3, 3), bool)
FAMILIES = "allow=~blocked says what blocked=True keeps apart, and combines with causal=True."
REFUSED = {
    "both families": (
        lambda: attention(Q, Q, Q, attn_mask=BLOCKED, causal=True),
        "scaled_dot_product_attention: masks of two families.\n  attn_mask: bool(3, 3)\n  causal: True\n"
        "  expected PyTorch's (attn_mask, is_causal) or our own (allow, bias, causal), not both.\n  "
        + FAMILIES,
    ),
    "both families, multihead": (
        lambda: MultiheadAttention(4, 2)(X, key_padding_mask=BLOCKED, lengths=[1, 2, 3]),
        "MultiheadAttention: masks of two families.\n  key_padding_mask: bool(3, 3)\n  lengths: [1, 2, 3]\n"
        "  expected PyTorch's (attn_mask, key_padding_mask, is_causal) or our own (allow, bias, causal, "
        "lengths), not both.\n  " + FAMILIES,
    ),
    "a mask and is_causal": (
        lambda: attention(Q, Q, Q, attn_mask=BLOCKED, is_causal=True),
        "scaled_dot_product_attention: attn_mask and is_causal at once.\n  attn_mask: bool(3, 3)\n"
        "  is_causal: True\n  expected one of them.",
    ),
    "is_causal alone": (
        lambda: MultiheadAttention(4, 2)(X, is_causal=True),
        "MultiheadAttention: is_causal without attn_mask.\n"
        "  expected attn_mask too: as in PyTorch, is_causal only says of it that it is causal.\n"
        "  Pass causal=True for a causal mask.",
    ),
    "heads": (
        lambda: MultiheadAttention(5, 8),
        "MultiheadAttention: embed_dim cannot be cut into equal heads.\n  embed_dim: 5\n  heads: 8\n"
        "  expected a multiple of 8, got 5.\n"
        "  Pass head_dim= for heads of a size of their own, such as head_dim=1.",
    ),
    "query and key": (
        lambda: attention(Q, np.zeros((3, 5), "f"), Q),
        "scaled_dot_product_attention: query and key differ in their last size.\n  query: f32(3, 4)\n"
        "  key: f32(3, 5)\n  value: f32(3, 4)\n  expected one size of at least 1, got 4 and 5.",
    ),
    "keys and values": (
        lambda: attention(Q, Q, Q[:2]),
        "scaled_dot_product_attention: keys and values differ in number.\n  query: f32(3, 4)\n"
        "  key: f32(3, 4)\n  value: f32(2, 4)\n  expected as many values as keys, got 2 and 3.",
    ),
    "heads that are not grouped": (
        lambda: attention(np.zeros((6, 3, 4), "f"), X, X),
        "scaled_dot_product_attention: the leading axes do not broadcast.\n  query: f32(6, 3, 4)\n"
        "  key: f32(2, 3, 4)\n  value: f32(2, 3, 4)\n"
        "  expected equal leading axes, or 1. Heads that share keys need enable_gqa=True.",
    ),
    "heads that cannot be grouped": (
        lambda: attention(np.zeros((5, 3, 4), "f"), X, X, enable_gqa=True),
        "scaled_dot_product_attention: the heads cannot be grouped.\n  query: f32(5, 3, 4)\n"
        "  key: f32(2, 3, 4)\n  value: f32(2, 3, 4)\n"
        "  expected a number of query heads that is a multiple of that of the keys and values.",
    ),
    "a vector": (
        lambda: attention(Q[0], Q, Q),
        "scaled_dot_product_attention: too few axes.\n  query: f32(4,)\n  key: f32(3, 4)\n"
        "  value: f32(3, 4)\n  expected (..., L, K), (..., S, K) and (..., S, V).",
    ),
    "integers": (
        lambda: attention(Q.astype(int), Q, Q),
        "scaled_dot_product_attention: attention is of floats.\n  query: i64(3, 4)\n  key: f32(3, 4)\n"
        "  value: f32(3, 4)\n  expected floats.",
    ),
    "a mask's shape": (
        lambda: attention(Q, Q, Q, allow=np.ones((3, 5), bool)),
        "scaled_dot_product_attention: allow does not fit.\n  allow: bool(3, 5)\n"
        "  expected a shape that broadcasts to that of the scores, (3, 3).",
    ),
    "a mask's dtype": (
        lambda: attention(Q, Q, Q, allow=np.ones((3, 3))),
        "scaled_dot_product_attention: allow is of the wrong dtype.\n  allow: f64(3, 3)\n  expected booleans.",
    ),
    "a mask of integers": (
        lambda: attention(Q, Q, Q, attn_mask=np.ones((3, 3), int)),
        "scaled_dot_product_attention: attn_mask is of the wrong dtype.\n  attn_mask: i64(3, 3)\n"
        "  expected booleans or floats.",
    ),
    "dropout": (
        lambda: attention(Q, Q, Q, dropout_p=1.5),
        "scaled_dot_product_attention: dropout_p out of range.\n  expected a probability from 0 to 1, got 1.5.",
    ),
    "an input": (
        lambda: MultiheadAttention(4, 2)(np.zeros((2, 3, 5), "f")),
        "MultiheadAttention: query does not fit.\n  query: f32(2, 3, 5)\n  key: f32(2, 3, 5)\n"
        "  value: f32(2, 3, 5)\n  expected (T, B, 4) or (T, 4).",
    ),
    "numbers of sequences": (
        lambda: MultiheadAttention(4, 2)(X, X[:, :2]),
        "MultiheadAttention: query, key and value do not fit each other.\n  query: f32(2, 3, 4)\n"
        "  key: f32(2, 2, 4)\n  value: f32(2, 2, 4)\n"
        "  expected one number of sequences throughout, and as many values as keys.",
    ),
    "attn_mask": (
        lambda: MultiheadAttention(4, 2)(X, attn_mask=BLOCKED),
        "MultiheadAttention: attn_mask does not fit.\n  attn_mask: bool(3, 3)\n  expected (2, 2) or (6, 2, 2).",
    ),
    "key_padding_mask": (
        lambda: MultiheadAttention(4, 2)(X, key_padding_mask=BLOCKED),
        "MultiheadAttention: key_padding_mask does not fit.\n  key_padding_mask: bool(3, 3)\n"
        "  expected (3, 2), one row for each sequence.",
    ),
    "key_padding_mask of integers": (
        lambda: MultiheadAttention(4, 2)(X, key_padding_mask=np.zeros((3, 2), int)),
        "MultiheadAttention: key_padding_mask is of the wrong dtype.\n  key_padding_mask: i64(3, 2)\n"
        "  expected booleans (True is blocked) or floats to be added.",
    ),
    "allow": (
        lambda: MultiheadAttention(4, 2)(X, allow=BLOCKED),
        "MultiheadAttention: allow does not fit.\n  allow: bool(3, 3)\n"
        "  expected (2, 2) or (3, 2, 2) or (3, 2, 2, 2); a size may be 1.",
    ),
    "allow of floats": (
        lambda: MultiheadAttention(4, 2)(X, allow=np.ones((2, 2))),
        "MultiheadAttention: allow is of the wrong dtype.\n  allow: f64(2, 2)\n"
        "  expected booleans, True where a query may attend.",
    ),
    "lengths": (
        lambda: MultiheadAttention(4, 2)(X, lengths=[1, 2, 3]),
        "MultiheadAttention: a length is out of range.\n  lengths: [1, 2, 3]\n  expected lengths from 0 to 2.",
    ),
    "a number of lengths": (
        lambda: MultiheadAttention(4, 2)(X, lengths=[1, 2]),
        "MultiheadAttention: lengths do not fit.\n  lengths: [1, 2]\n"
        "  expected 3 whole numbers, one for each sequence.",
    ),
    "a cache of another attention": (
        lambda: MultiheadAttention(4, 2)(X, X + 1, cache=()),
        "MultiheadAttention: a cache is for self-attention.\n"
        "  expected queries that are the keys, and allow= or causal= rather than lengths=.",
    ),
    "a cache of other heads": (
        lambda: MultiheadAttention(4, 2)(X, cache=(np.zeros((3, 1, 5, 2), "f"),) * 2),
        "MultiheadAttention: cache does not fit.\n  query: f32(2, 3, 4)\n  cache[0]: f32(3, 1, 5, 2)\n"
        "  cache[1]: f32(3, 1, 5, 2)\n  expected a pair of keys and values (3, 2, t, 2).",
    ),
    "an offset": (
        lambda: SinusoidalPositions(4)(X, -1),
        "sinusoidal: offset is no position.\n  expected a whole number of at least 0, got -1.",
    ),
    "beyond the last position": (
        lambda: LearnedPositions(3, 4)(X, 2),
        "LearnedPositions: there are not so many positions.\n  input: f32(2, 3, 4)\n"
        "  weight: f32(3, 4)   parameter 'weight'\n  expected offset + T of at most 3, got 4.",
    ),
    "a width": (
        lambda: SinusoidalPositions(5)(X),
        "SinusoidalPositions: the input does not fit.\n  input: f32(2, 3, 4)\n"
        "  expected (T, B, 5) or (T, 5).",
    ),
    "a rotary width": (
        lambda: RotaryPositions(6)(X),
        "RotaryPositions: the input does not fit.\n  input: f32(2, 3, 4)\n  expected (..., T, 6).",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_is_told_in_full(case):
    """The whole text of the error."""
    call, text = REFUSED[case]
    with pytest.raises((ValueError, TypeError)) as error:
        call()
    assert str(error.value) == text
