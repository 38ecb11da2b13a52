"""Transformer layers and stacks, and the GPT: first weights, caches, lengths, derivatives, and what is refused."""

import copy
import itertools

import numpy as np
import pytest

import tinygrad_seq as tgs
from tests.composed_cases import with_weights
from tinygrad_seq import functional as F
from tinygrad_seq import nn
from tinygrad_seq.models.gpt import GPT
from tinygrad_seq.nn.masks import generate_square_subsequent_mask
from tinygrad_seq.nn.positions import ALiBi, RotaryPositions
from tinygrad_seq.nn.transformer import Transformer, TransformerDecoder, TransformerEncoder
from tinygrad_seq.nn.transformer_layers import TransformerDecoderLayer, TransformerEncoderLayer

pytestmark = [pytest.mark.engine, pytest.mark.laws]

E, HEADS = 4, 2


def drawn(*shapes, dtype="float64", seed=0, wants=False):
    """Random tensors."""
    rng = np.random.default_rng(seed)
    return [tgs.tensor(rng.standard_normal(s).astype(dtype), requires_grad=wants) for s in shapes]


def moved(module):
    """In float64, with biases that are not zero and scales that are not one."""
    module = module.double()
    for i, p in enumerate(module.parameters()):
        p.assign(p.numpy() + np.random.default_rng(i).standard_normal(p.shape) * 0.3)
    return module


def encoder(layers=3, **settings):
    """A small stack."""
    settings = {"dropout": 0.0, **settings}
    return moved(
        TransformerEncoder(TransformerEncoderLayer(E, HEADS, 6, **settings), layers, nn.LayerNorm(E))
    )


def decoder(layers=2, **settings):
    """A small stack."""
    settings = {"dropout": 0.0, **settings}
    return moved(
        TransformerDecoder(TransformerDecoderLayer(E, HEADS, 6, **settings), layers, nn.LayerNorm(E))
    )


# ---- layers --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("norm_first", [False, True])
def test_the_encoder_layer_is_its_formula(norm_first):
    """Sublayer by sublayer from the layer's own parts."""
    layer = moved(TransformerEncoderLayer(E, HEADS, 6, 0.0, "gelu", norm_first=norm_first))
    (x,) = drawn((5, 2, E))

    def attend(y):
        return layer.self_attn(y, y, y, causal=True)[0]

    def feed(y):
        return layer.linear2(F.gelu(layer.linear1(y)))

    if norm_first:
        y = x + attend(layer.norm1(x))
        expected = y + feed(layer.norm2(y))
    else:
        y = layer.norm1(x + attend(x))
        expected = layer.norm2(y + feed(y))
    np.testing.assert_allclose(layer(x, causal=True).numpy(), expected.numpy(), atol=1e-13)
    with tgs.composed():
        np.testing.assert_allclose(layer(x, causal=True).numpy(), expected.numpy(), atol=1e-12)


@pytest.mark.parametrize("activation", [F.silu, lambda x: x.tanh()], ids=["silu", "a function of one's own"])
def test_an_activation_of_ones_own(activation):
    """Any function of a tensor."""
    layer = moved(TransformerEncoderLayer(E, HEADS, 6, 0.0, activation, norm_first=True))
    (x,) = drawn((5, 2, E))
    y = x + layer.self_attn(layer.norm1(x))[0]
    expected = y + layer.linear2(activation(layer.linear1(layer.norm2(y))))
    np.testing.assert_allclose(layer(x).numpy(), expected.numpy(), atol=1e-13)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("norm_first", [False, True])
def test_gradcheck_of_the_encoder_layer(norm_first, order):
    """Input and every parameter, causal."""
    layer = moved(TransformerEncoderLayer(E, HEADS, 3, 0.0, "gelu", norm_first=norm_first))
    fn, shapes = with_weights(layer)
    inner = layer.forward
    layer.forward = lambda x: inner(x, causal=True)
    assert tgs.gradcheck(fn, drawn((3, 2, E), *shapes, wants=True), order=order)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("norm_first", [False, True])
def test_gradcheck_of_the_decoder_layer(norm_first, order):
    """Target, memory and every parameter; one row of the memory's mask is empty."""
    layer = moved(TransformerDecoderLayer(E, HEADS, 3, 0.0, "gelu", norm_first=norm_first))
    fn, shapes = with_weights(layer)
    inner, reach = layer.forward, np.array([[True, True], [False, False], [False, True]])
    layer.forward = lambda xs: inner(xs[:3], xs[3:], causal=True, memory_allow=reach)
    assert tgs.gradcheck(fn, drawn((5, 2, E), *shapes, wants=True), order=order)


def test_dropout_acts_in_training_alone():
    """Different in each call, and gone after eval()."""
    layer = TransformerEncoderLayer(E, HEADS, 6, 0.5)
    x = tgs.randn(5, 2, E)
    assert np.abs(layer(x).numpy() - layer(x).numpy()).max() > 0.01
    layer.eval()
    np.testing.assert_array_equal(layer(x).numpy(), layer(x).numpy())


# ---- stacks --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("stack", [TransformerEncoder, TransformerDecoder])
def test_layers_start_from_weights_of_their_own(stack):
    """The first is a copy of the layer given, no other is like another; names are PyTorch's; dtype goes with it."""
    kind = TransformerEncoderLayer if stack is TransformerEncoder else TransformerDecoderLayer
    layer = kind(E, HEADS, 6, 0.3, "gelu", norm_first=True, dtype=np.float64).eval()
    made = stack(layer, 3)
    first, second, third = (m.linear1.weight.numpy() for m in made.layers)
    np.testing.assert_array_equal(first, layer.linear1.weight.numpy())
    assert made.layers[0] is not layer
    assert np.abs(first - second).min() > 0
    assert np.abs(second - third).min() > 0
    assert {m.norm_first for m in made.layers} == {True}
    assert {m.dropout.p for m in made.layers} == {0.3}
    assert {m.activation for m in made.layers} == {F.gelu}
    assert not any(m.training for m in made.modules() if m is not made)
    assert {p.dtype.name for p in made.parameters()} == {"float64"}
    assert "layers.2.self_attn.in_proj_weight" in made.state_dict()


def test_a_stack_of_ones_own_layers():
    """A function makes each of them."""
    made = TransformerEncoder(lambda: TransformerEncoderLayer(E, HEADS, 6, 0.0), 2)
    assert made(tgs.randn(3, 2, E)).shape == (3, 2, E)
    assert np.abs(made.layers[0].linear1.weight.numpy() - made.layers[1].linear1.weight.numpy()).min() > 0


@pytest.mark.parametrize("pieces", [[1] * 6, [2, 1, 3]])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("positions", [None, RotaryPositions(2), ALiBi(2)], ids=["bag", "rotary", "alibi"])
def test_a_cached_encoder_is_the_uncached_one(positions, batch_first, pieces):
    """To 1e-11 in float64, causal, piece by piece."""
    stack = encoder(batch_first=batch_first, positions=positions, norm_first=True)
    (x,) = drawn((2, 6, E) if batch_first else (6, 2, E))
    whole = stack(x, causal=True)
    cache, outs, start = (), [], 0
    for n in pieces:
        piece = x[:, start : start + n] if batch_first else x[start : start + n]
        out, cache = stack(piece, causal=True, cache=cache)
        outs.append(out)
        start += n
    np.testing.assert_allclose(tgs.concat(outs, int(batch_first)).numpy(), whole.numpy(), atol=1e-11)


@pytest.mark.parametrize("start", ["nothing", "precomputed"])
@pytest.mark.parametrize("single", [False, True])
def test_teacher_forcing_is_step_by_step(start, single):
    """A decoder with a cache, the memory read once, gives the logits of the whole target at once."""
    stack = decoder()
    tgt, memory = drawn((5, E), (4, E)) if single else drawn((5, 2, E), (4, 2, E))
    whole = stack(tgt, memory, causal=True)
    cache = () if start == "nothing" else stack.precompute(memory)
    outs = []
    for t in range(5):
        given = memory if t == 0 and start == "nothing" else None
        out, cache = stack(tgt[t : t + 1], given, causal=True, cache=cache)
        outs.append(out)
    np.testing.assert_allclose(tgs.concat(outs).numpy(), whole.numpy(), atol=1e-11)


@pytest.mark.parametrize("batch_first", [False, True])
def test_beyond_a_length_nothing_matters(batch_first):
    """NaN there changes no output and no gradient; each row equals that row alone; length 0 is legal."""
    stack = encoder(batch_first=batch_first)
    lengths = [4, 1, 0]
    (x,) = drawn((3, 4, E))
    results = []
    for filler in (None, np.nan):
        array = x.numpy().copy()
        for b, n in enumerate(lengths):
            array[b, n:] = array[b, n:] if filler is None else filler
        t = tgs.tensor(array if batch_first else array.swapaxes(0, 1), requires_grad=True)
        out = stack(t, lengths=lengths, causal=True)
        results.append([out, *tgs.grad((out**3).sum(), [t, *stack.parameters()])])
    for clean, dirty in zip(*results, strict=True):
        np.testing.assert_array_equal(clean.numpy(), dirty.numpy())
    out = results[0][0].numpy() if batch_first else results[0][0].numpy().swapaxes(0, 1)
    for b, n in enumerate(lengths):
        assert not out[b, n:].any()
        if n:
            np.testing.assert_allclose(out[b, :n], stack(x[b, :n], causal=True).numpy(), atol=1e-11)


def test_the_order_of_the_batch_never_matters():
    """To 1e-13: encoder and decoder, rows permuted."""
    model = moved(Transformer(E, HEADS, 2, 2, 6, 0.0))
    src, tgt = drawn((4, 3, E), (5, 3, E))
    order = np.array([2, 0, 1])
    lengths = np.array([4, 2, 3])
    a = model(src, tgt, causal=True, src_lengths=lengths)
    b = model(src[:, order], tgt[:, order], causal=True, src_lengths=lengths[order])
    np.testing.assert_allclose(a.numpy()[:, order], b.numpy(), atol=1e-13)


def test_a_changed_future_leaves_the_past_alone():
    """causal=True in the target; the source may change everything."""
    model = moved(Transformer(E, HEADS, 1, 1, 6, 0.0))
    src, tgt = drawn((4, 1, E), (5, 1, E))
    later = tgs.tensor(np.concatenate([tgt.numpy()[:3], tgt.numpy()[3:] + 1]))
    a, b = (model(src, t, causal=True).numpy() for t in (tgt, later))
    np.testing.assert_array_equal(a[:3], b[:3])
    assert np.abs(a[3:] - b[3:]).min() > 1e-6
    assert np.abs(a - model(src + 1, tgt, causal=True).numpy()).min() > 1e-9
    mask = generate_square_subsequent_mask(5, np.float64)
    np.testing.assert_allclose(model(src, tgt, tgt_mask=mask).numpy(), a, atol=1e-13)
    np.testing.assert_array_equal(
        Transformer.generate_square_subsequent_mask(2).numpy(), [[0, -np.inf], [0, 0]]
    )


# ---- GPT -----------------------------------------------------------------------------------------------------
each_kind = pytest.mark.parametrize("positions", ["learned", "rotary", "sinusoidal", "alibi"])


def gpt(positions="learned", block=8, **settings):
    """A small model in float64 whose layers all matter."""
    tgs.manual_seed(0)
    return moved(GPT(5, block, 2, 2, 4, positions=positions, **settings))


def some_ids(steps, batch=2):
    """Random ids."""
    return np.random.default_rng(steps).integers(0, 5, (steps, batch))


@each_kind
@pytest.mark.parametrize("pieces", [[1] * 8, [3, 1, 4], [8]])
def test_a_cached_gpt_is_the_uncached_one(positions, pieces):
    """Logits to 1e-11 in float64, the state going from piece to piece."""
    model, ids = gpt(positions), some_ids(8)
    whole, last = model(ids)
    assert whole.shape == (8, 2, 5)
    state, outs, start = None, [], 0
    for n in pieces:
        out, state = model(ids[start : start + n], state)
        outs.append(out)
        start += n
    np.testing.assert_allclose(tgs.concat(outs).numpy(), whole.numpy(), atol=1e-11)
    np.testing.assert_array_equal(state[0].numpy(), last[0].numpy())


@each_kind
def test_no_symbol_sees_a_later_one(positions):
    """A changed id changes logits from there on."""
    model, ids = gpt(positions), some_ids(8)
    changed = ids.copy()
    changed[5] = (changed[5] + 1) % 5
    a, b = (model(i)[0].numpy() for i in (ids, changed))
    np.testing.assert_allclose(a[:5], b[:5], atol=1e-14)
    assert np.abs(a[5:] - b[5:]).max(axis=(1, 2)).min() > 1e-6


@each_kind
def test_a_full_window_starts_again_with_its_later_half(positions):
    """Beyond `block` a step sees the last block // 2 symbols and itself; a whole block sees itself alone."""
    model, ids = gpt(positions), some_ids(17)
    _, state = model(ids[:8])
    ninth, after = model(ids[8:9], state)
    np.testing.assert_allclose(ninth.numpy(), model(ids[4:9])[0].numpy()[4:], atol=1e-11)
    assert after[0].shape == (5, 2)
    whole, _ = model(ids[8:16], state)
    np.testing.assert_allclose(whole.numpy(), model(ids[8:16])[0].numpy(), atol=1e-11)


@each_kind
@pytest.mark.parametrize("block", [1, 5, 8])
@pytest.mark.parametrize("before", [0, 3, 8])
def test_a_long_text_at_once_is_the_text_symbol_by_symbol(positions, block, before):
    """Longer than `block`, even and odd, from any state: to 1e-11."""
    model, ids = gpt(positions, block), some_ids(before + 17)
    state = None
    for t in range(before):
        _, state = model(ids[t : t + 1], state)
    at_once, last = model(ids[before:], state)
    outs = []
    for t in range(before, before + 17):
        out, state = model(ids[t : t + 1], state)
        outs.append(out)
    np.testing.assert_allclose(at_once.numpy(), tgs.concat(outs).numpy(), atol=1e-11)
    np.testing.assert_array_equal(last[0].numpy(), state[0].numpy())


def test_a_gpt_stands_behind_the_protocol():
    """The probabilities of all strings of length 4 over 3 symbols sum to 1; scores are those of the logits."""
    tgs.manual_seed(0)
    model = moved(GPT(3, 3, 1, 1, 4))
    total = sum(np.exp(model.log_prob(s)) for s in itertools.product(range(3), repeat=4))
    assert abs(total - 1) < 1e-12
    logits = model(np.array([[0], [2]]))[0].numpy()[:, 0]
    logp = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    np.testing.assert_allclose(model.score([0, 2, 1]), [-np.log(3), logp[0, 2], logp[1, 1]], atol=1e-12)


def test_a_state_can_be_detached():
    """It is tuples of tensors: what it holds of the past is let go."""
    model = gpt()
    _, state = model(some_ids(3))
    loss, _ = model.loss(some_ids(2), some_ids(2), tgs.detach(state))
    loss.backward()
    assert not any(t.requires_grad for pair in tgs.detach(state)[1] for t in pair)


def test_the_loss_is_the_mean_over_all_symbols():
    """Equal to cross-entropy of the logits, step by step and row by row."""
    model, ids, targets = gpt(), some_ids(6), some_ids(7)[1:]
    logits = model(ids)[0].numpy()
    logp = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    expected = -np.mean([logp[t, b, targets[t, b]] for t, b in np.ndindex(6, 2)])
    assert abs(model.loss(ids, targets)[0].item() - expected) < 1e-12
    assert abs(model.loss(tgs.tensor(ids), tgs.tensor(targets))[0].item() - expected) < 1e-12


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("positions", ["learned", "rotary"])
def test_gradcheck_of_the_gpt(positions, order):
    """Every parameter, in float64; with a head of its own."""
    model = gpt(positions, block=3, tied=False)
    fn, shapes = with_weights(model)
    ids = tgs.tensor(some_ids(3))
    assert tgs.gradcheck(lambda *w: fn(ids, *w), drawn(*shapes, wants=True), order=order)


def test_a_tied_head_is_the_embedding():
    """One parameter, whose gradient is the sum of what both ends send."""
    tied, apart = gpt(), gpt(tied=False)
    assert tied.head.weight is tied.embedding.weight
    assert apart.count() - tied.count() == 5 * 4
    state = {name: t.numpy() for name, t in tied.state_dict().items()}
    apart.load_state_dict(state)
    ids = some_ids(6)
    for model in (tied, apart):
        model.loss(ids, ids)[0].backward()
    both = apart.head.weight.grad.numpy() + apart.embedding.weight.grad.numpy()
    np.testing.assert_allclose(tied.embedding.weight.grad.numpy(), both, atol=1e-13)


def test_first_weights_are_small():
    """N(0, 0.02), N(0, 0.02 / sqrt(2 layers)) for what adds to x, zero biases, and a first loss of ln V."""
    tgs.manual_seed(0)
    model = GPT(65, 32, 4, 4, 64)
    for name, p in model.named_parameters():
        values = p.numpy()
        if name.endswith("bias"):
            assert not values.any(), name
        elif p.ndim > 1:
            scale = 0.02 / 8**0.5 if name.endswith(("out_proj.weight", "linear2.weight")) else 0.02
            assert abs(values.std() / scale - 1) < 0.06, name
    ids = np.random.default_rng(0).integers(0, 65, (32, 4))
    assert abs(model.loss(ids, np.roll(ids, 1))[0].item() - np.log(65)) < 0.1


def test_the_gpt_counts_what_nanogpt_counts():
    """12 E^2 + 13 E a layer, V E + block E around them, 2 E for the last norm."""
    model = GPT(65, 64, 4, 4, 128)
    assert model.count() == 4 * (12 * 128**2 + 13 * 128) + 65 * 128 + 64 * 128 + 2 * 128


@each_kind
def test_the_gpt_learns_what_lies_two_steps_back(positions):
    """A text in which each symbol is the one before last, which no bigram knows: below 0.1 nats in 120 steps."""
    tgs.manual_seed(1)
    model = GPT(4, 12, 2, 2, 16, positions=positions)
    optimizer = tgs.optim.Adam(model.parameters(), lr=0.01)
    rng = np.random.default_rng(0)
    for _ in range(120):
        ids = np.tile(rng.integers(0, 4, (2, 16)), (7, 1))[:13]
        optimizer.zero_grad()
        model.loss(ids[:-1], ids[1:])[0].backward()
        optimizer.step()
    logits = model(ids[:-1])[0]
    late = F.cross_entropy(logits[2:].reshape(-1, 4), tgs.tensor(ids[3:].reshape(-1))).item()
    assert late < 0.1


@pytest.mark.parametrize(("steps", "batch"), [(1, 1), (1, 3), (4, 0)])
def test_one_step_one_row_and_none(steps, batch):
    """T = 1, B = 1 and B = 0."""
    model = gpt()
    logits, state = model(np.zeros((steps, batch), int))
    assert logits.shape == (steps, batch, 5)
    assert state[0].shape == (steps, batch)


def test_a_width_of_one():
    """One head of one feature, positions of every kind."""
    for positions in ("learned", "rotary", "sinusoidal", "alibi"):
        model = GPT(3, 4, 1, 1, 1, positions=positions)
        assert np.isfinite(model(np.zeros((4, 1), int))[0].numpy()).all()


def test_fused_is_composed():
    """The whole model, in float32: loss and every gradient to 1e-6."""
    tgs.manual_seed(2)
    model, ids = GPT(5, 8, 2, 2, 8), some_ids(8)
    found = []
    for run in (False, True):
        model.zero_grad()
        if run:
            with tgs.composed():
                loss = model.loss(ids, ids)[0]
        else:
            loss = model.loss(ids, ids)[0]
        loss.backward()
        found.append([loss.item(), *(p.grad.numpy() for p in model.parameters())])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_a_copy_of_a_model_is_a_model():
    """deepcopy keeps the ties and the kernels."""
    model = gpt()
    twin = copy.deepcopy(model)
    np.testing.assert_array_equal(model(some_ids(4))[0].numpy(), twin(some_ids(4))[0].numpy())


class Own(nn.Module):
    """A layer that cannot make another."""


REFUSED = {
    "d_model": (
        lambda: TransformerEncoderLayer(5, 2),
        "TransformerEncoderLayer: d_model cannot be cut into equal heads.\n  d_model: 5\n  heads: 2\n"
        "  expected a multiple of 2, got 5.",
    ),
    "width": (
        lambda: GPT(5, 8, 1, 3, 4),
        "GPT: width cannot be cut into equal heads.\n  width: 4\n  heads: 3\n  expected a multiple of 3, got 4.",
    ),
    "activation": (
        lambda: TransformerDecoderLayer(4, 2, activation="swish"),
        "TransformerDecoderLayer: no such activation.\n  activation: 'swish'\n"
        "  expected 'relu', 'gelu' or a function of a tensor.",
    ),
    "a layer of one's own": (
        lambda: TransformerEncoder(Own(), 2),
        "TransformerEncoder: Own cannot make others like itself.\n"
        "  expected a layer that can make another with weights of its own, or a function that makes one.\n"
        "  Pass a function of no arguments: TransformerEncoder(lambda: Own(...), 2).",
    ),
    "no layers": (
        lambda: TransformerEncoder(TransformerEncoderLayer(4, 2), 0),
        "TransformerEncoder: num_layers is no size.\n  expected a whole number of at least 1, got 0.",
    ),
    "src and tgt": (
        lambda: Transformer(4, 2, 1, 1, 6)(tgs.zeros(3, 2, 4), tgs.zeros(5, 3, 4)),
        "Transformer: src and tgt do not fit.\n  src: f32(3, 2, 4)\n  tgt: f32(5, 3, 4)\n"
        "  expected 4 features in both, and one number of sequences.",
    ),
    "both families": (
        lambda: encoder()(tgs.zeros(3, 2, 4), generate_square_subsequent_mask(3), causal=True),
        "MultiheadAttention: masks of two families.\n  attn_mask: f32(3, 3)\n  causal: True\n"
        "  expected PyTorch's (attn_mask, key_padding_mask, is_causal) or our own (allow, bias, causal, "
        "lengths), not both.\n"
        "  allow=~blocked says what blocked=True keeps apart, and combines with causal=True.",
    ),
    "is_causal alone": (
        lambda: encoder()(tgs.zeros(3, 2, 4), is_causal=True),
        "MultiheadAttention: is_causal without attn_mask.\n"
        "  expected attn_mask too: as in PyTorch, is_causal only says of it that it is causal.\n"
        "  Pass causal=True for a causal mask.",
    ),
    "lengths and a cache": (
        lambda: encoder()(tgs.zeros(3, 2, 4), lengths=[1, 2], cache=()),
        "TransformerEncoder: lengths are for whole sequences.\n  src: f32(3, 2, 4)\n"
        "  expected a batch, and no cache.",
    ),
    "positions": (
        lambda: GPT(5, positions="absolute"),
        "GPT: no such positions.\n  positions: 'absolute'\n"
        "  expected one of learned, rotary, sinusoidal, alibi.",
    ),
    "ids without a batch": (
        lambda: gpt()(np.zeros(3, int)),
        "GPT: the ids do not fit.\n  ids: i64(3,)\n  expected (T, B), T at least 1.",
    ),
    "no ids": (
        lambda: gpt()(np.zeros((0, 2), int)),
        "GPT: the ids do not fit.\n  ids: i64(0, 2)\n  expected (T, B), T at least 1.",
    ),
    "another batch's state": (
        lambda: gpt()(np.zeros((1, 3), int), gpt()(np.zeros((2, 2), int))[1]),
        "GPT: the state does not fit.\n  ids: i64(1, 3)\n  seen: i64(2, 2)\n  expected 3 sequences, got 2.",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_is_told_in_full(case):
    """The whole text of the error."""
    call, text = REFUSED[case]
    with pytest.raises(ValueError) as error:  # noqa: PT011
        call()
    assert str(error.value) == text


def test_an_unknown_id_is_an_error():
    """Named with its range."""
    with pytest.raises(tgs.RangeError, match="expected ids from 0 to 4, got 5"):
        gpt()(np.full((2, 1), 5))
