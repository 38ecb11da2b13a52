"""Laws of the protocol, for every class behind it: probabilities add up to 1, and all ways of asking agree."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

import tinygrad_seq as tgs
from tinygrad_seq import nn
from tinygrad_seq.data import Vocabulary
from tinygrad_seq.engine.random import Generator
from tinygrad_seq.errors import ArgumentError, DataError, DTypeError, NonFiniteError, RangeError, ShapeError
from tinygrad_seq.models import (
    GPT,
    CharLM,
    LanguageModel,
    LatentAR,
    Markov,
    Naive,
    NeuralMarkov,
    NeuralModel,
    SymbolAR,
    SymbolModel,
)

pytestmark = [pytest.mark.engine, pytest.mark.laws]

IDS = np.random.default_rng(0).integers(0, 3, 60)
ROWS = [IDS[:4], IDS[4:9], IDS[9:10], IDS[10:]]


class Echo(nn.Module):
    """A language model as a user may write it: no embedding, a state of its own, not learnt."""

    def __init__(self) -> None:
        self.weight = nn.Parameter(np.random.default_rng(1).standard_normal((3, 3)).astype(np.float32))

    def forward(self, ids, state=None):
        """Logits from a running sum of one-hot rows."""
        total = tgs.zeros(ids.shape[1], 3) if state is None else state
        outs = []
        for row in ids:
            total = total * 0.5 + tgs.functional.one_hot(row, 3).float()
            outs.append(total @ self.weight)
        return tgs.stack(outs), total


def large(model: NeuralModel) -> NeuralModel:
    """The model with weights so large that its probabilities are far from even."""
    for p in model.parameters():
        p.assign(p.numpy() * 3)
    return model


def gpt(block: int, **settings: object) -> LanguageModel:
    """A GPT with weights so large that its probabilities are far from even."""
    net = GPT(3, block, layers=2, heads=2, width=8, tied=False, rng=Generator(5, "init"), **settings)
    for p in net.parameters():
        p.assign(p.numpy() * 20 if p.ndim > 1 else p.numpy())
    return LanguageModel(net, 3, block=block)


def rng() -> Generator:
    return Generator(7, "init")


COUNTS = {
    "naive": lambda: Naive(3).fit(IDS),
    "naive of many, smoothed": lambda: Naive(3, 0.3).fit(list(IDS.reshape(15, 4))),
    **{
        f"markov {k} {kind}": lambda k=k, kind=kind: Markov(3, k, smoothing=kind).fit(ROWS)
        for k in range(5)
        for kind in ("additive", "witten-bell", "kneser-ney")
    },
    "markov unsmoothed": lambda: Markov(3, 2, alpha=0).fit(IDS[:12]),
    "markov deeper than its text": lambda: Markov(3, 6, smoothing="kneser-ney").fit([0, 1]),
}
NETWORKS = {
    "bias": lambda: NeuralMarkov(3, 0, rng=rng()),
    "bigram": lambda: NeuralMarkov(3, rng=rng()),
    "trigram": lambda: NeuralMarkov(3, 2, rng=rng()),
    "AR(1)": lambda: large(SymbolAR(3, 1, 6, 4, rng=rng())),
    "AR(3)": lambda: large(SymbolAR(3, 3, 6, 4, rng=rng())),
    "RNN": lambda: large(CharLM(3, 5, cell="rnn", rng=rng())),
    "GRU": lambda: large(CharLM(3, 5, cell="gru", rng=rng())),
    "LSTM": lambda: large(CharLM(3, 5, 2, dropout=0.5, rng=rng())),
    "LSTM with projection": lambda: large(LatentAR(3, nn.LSTM(4, 6, proj_size=2, rng=rng()), rng=rng())),
    "GPT that sees all": lambda: gpt(64),
    "GPT that starts again": lambda: gpt(4),
    "GPT of an odd block": lambda: gpt(5, positions="rotary"),
    "GPT that sees one": lambda: gpt(1),
    "a user's own": lambda: LanguageModel(Echo(), 3),
}
MODELS = {**COUNTS, **NETWORKS}
each_model = pytest.mark.parametrize("name", MODELS)


@each_model
def test_chances_of_all_strings_add_up_to_one(name: str) -> None:
    """All 81 strings of length 4 over 3 symbols; so no chance is lost and none is counted twice."""
    model = MODELS[name]()
    total = sum(math.exp(model.log_prob(text)) for text in itertools.product(range(3), repeat=4))
    assert abs(total - 1) < (1e-12 if name in COUNTS else 1e-5)


@each_model
def test_all_ways_of_asking_agree(name: str) -> None:
    """`step` by `step`, `conditional` of each prefix, `score` and what the base class makes of `step`."""
    model, close = MODELS[name](), 1e-12 if name in COUNTS else 1e-5
    text = np.random.default_rng(2).integers(0, 3, 12)
    with np.errstate(divide="ignore"):
        asked = np.log([model.conditional(text[:s])[text[s]] for s in range(12)])
    stepped, (told, state) = [], model.step(None, model.init_state())
    for symbol in text.tolist():
        assert told.shape == (3,)
        assert np.exp(told).sum() == pytest.approx(1, abs=1e-12)
        stepped.append(told[symbol])
        told, state = model.step(symbol, state)
    scores = model.score(text)
    np.testing.assert_allclose(stepped, asked, atol=close)
    np.testing.assert_allclose(scores, asked, atol=close)
    np.testing.assert_allclose(SymbolModel.score(model, text), asked, atol=close)
    assert model.log_prob(text) == pytest.approx(asked.sum(), abs=20 * close)
    np.testing.assert_allclose(model.score(text[:1]), asked[:1], atol=close)


@each_model
def test_a_state_is_a_value(name: str) -> None:
    """Two ways on from one state do not disturb each other, nor the state."""
    model = MODELS[name]()
    _, state = model.step(1, model.init_state())
    first = model.step(0, state)[0]
    model.step(2, state)
    np.testing.assert_array_equal(model.step(0, state)[0], first)


def tensors_of(state: object) -> list[tgs.Tensor]:
    if isinstance(state, tgs.Tensor):
        return [state]
    return [t for part in state for t in tensors_of(part)] if isinstance(state, (tuple, list)) else []


@pytest.mark.parametrize("name", NETWORKS)
def test_asking_leaves_no_trace(name: str) -> None:
    """Nothing is recorded, no mode changed, no dropout drawn: the same answer twice."""
    model = NETWORKS[name]()
    modes = [module.training for module in model.modules()]
    first = model.score(IDS)
    state = model.step(0, model.init_state())[1]
    assert not any(t.requires_grad for t in tensors_of(state))
    np.testing.assert_array_equal(model.score(IDS), first)
    assert [module.training for module in model.modules()] == modes
    assert all(p.grad is None for p in model.parameters())


# Given all at once, a GPT takes pieces of half a block, and an odd block has no half.
@pytest.mark.parametrize("name", sorted(set(NETWORKS) - {"GPT of an odd block"}))
def test_score_is_what_training_lowers(name: str) -> None:
    """The mean of -`score` over all but the first is `loss`, in either way of cutting the text in two."""
    model = NETWORKS[name]().eval()
    loss, _ = model.loss(IDS[:-1, None], tgs.tensor(IDS[1:, None]))
    assert -model.score(IDS)[1:].mean() == pytest.approx(loss.item(), rel=1e-5)
    one, state = model.loss(IDS[:20, None], tgs.tensor(IDS[1:21, None]))
    two, _ = model.loss(IDS[20:40, None], tgs.tensor(IDS[21:41, None]), tgs.detach(state))
    assert -model.score(IDS[:41])[1:].mean() == pytest.approx((one.item() + two.item()) / 2, rel=1e-5)


@pytest.mark.parametrize("name", sorted(set(NETWORKS) - {"a user's own"}))
def test_rows_of_a_batch_do_not_meet(name: str) -> None:
    """Logits of three rows side by side are those of each row alone."""
    model = NETWORKS[name]().eval()
    ids = IDS.reshape(20, 3)
    logits = model(ids)[0].numpy()
    for b in range(3):
        np.testing.assert_allclose(logits[:, b], model(ids[:, b : b + 1])[0].numpy()[:, 0], atol=1e-5)


@pytest.mark.parametrize(
    ("name", "reach"),
    [
        ("markov 0 additive", 0), ("markov 3 kneser-ney", 3), ("markov 4 witten-bell", 4), ("bias", 0),
        ("bigram", 1), ("trigram", 2), ("AR(1)", 1), ("AR(3)", 3), ("GPT that sees one", 1), ("RNN", 5),
        ("GRU", 5), ("LSTM", 5), ("GPT that sees all", 5), ("naive of many, smoothed", 3),
    ],
)  # fmt: skip
def test_how_far_back_a_model_looks(name: str, reach: int) -> None:
    """The symbol `n` back changes what comes next for n up to tau, or to the beginning, and none behind it."""
    model = MODELS[name]()
    length = 3 if name.startswith("naive") else 5
    for n in range(1, length + 1):
        # Several prefixes, because counts may agree for one by chance.
        prefixes = np.random.default_rng(n).integers(0, 3, (12, length)).tolist()
        pairs = ((p, (*p[: length - n], (p[length - n] + 1) % 3, *p[length - n + 1 :])) for p in prefixes)
        differs = any((model.conditional(a) != model.conditional(b)).any() for a, b in pairs)
        assert differs == (n <= reach), n


@pytest.mark.parametrize("name", ["bias", "trigram", "AR(3)", "RNN", "GRU", "LSTM"])
def test_no_rows_and_one_step(name: str) -> None:
    """A batch of none has logits of none; a width of 1 and one step are no special cases."""
    logits, state = NETWORKS[name]()(np.zeros((4, 0), np.int64))
    assert logits.shape == (4, 0, 3)
    assert NETWORKS[name]()(np.zeros((1, 0), np.int64), state)[0].shape == (1, 0, 3)
    assert CharLM(1, 1).log_prob([0, 0]) == 0.0
    assert SymbolAR(1, 2, 1, 1).log_prob([0, 0, 0, 0]) == 0.0


def test_a_long_sequence_in_pieces() -> None:
    """Longer than what `score` runs in one go, and one symbol beyond it: the state goes over the seam."""
    model = NETWORKS["GRU"]()
    for T in (1024, 1025, 1026, 2500):
        ids = np.random.default_rng(T).integers(0, 3, T)
        told = model.eval()(ids[:, None])[0].numpy().astype(np.float64)[:-1, 0]
        told -= np.log(np.exp(told).sum(-1, keepdims=True))
        np.testing.assert_allclose(model.score(ids)[1:], told[np.arange(T - 1), ids[1:]], atol=1e-5)
        np.testing.assert_allclose(
            np.log(model.conditional(ids[:-1]))[ids[-1]], model.score(ids)[-1], atol=1e-5
        )


@pytest.mark.parametrize("block", [None, 1, 4, 5])
def test_pieces_cover_every_step_once(block: int | None) -> None:
    model = LanguageModel(Echo(), 3, block=block)
    for T in (0, 1, 3, 4, 5, 6, 7, 8, 9, 1024, 1025, 3000):
        steps = [t for piece in model.pieces(T) for t in range(T)[piece]]
        assert steps == list(range(T))


def test_dropout_of_one_layer_is_the_models_own() -> None:
    """A single layer has no other to drop out before; the text of PyTorch's warning never appears."""
    for cell in ("rnn", "gru", "lstm"):
        assert getattr(CharLM(3, 4, dropout=0.5, cell=cell), cell).dropout == 0.0
        assert getattr(CharLM(3, 4, 2, dropout=0.5, cell=cell), cell).dropout == 0.5


def test_cells_keep_their_names_and_the_lstm_its_weights() -> None:
    """`cell` changes nothing where it is not given; the layer bears the cell's name."""
    assert [type(getattr(CharLM(3, 4, cell=c), c)).__name__ for c in ("rnn", "gru", "lstm")] == [
        "RNN",
        "GRU",
        "LSTM",
    ]
    names = [name for name, _ in CharLM(3, 4).named_parameters()]
    assert names == [
        "embedding.weight",
        *(f"lstm.{w}_l0" for w in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")),
        "head.weight",
        "head.bias",
    ]


def test_text_of_any_script() -> None:
    """Ids of a vocabulary of Korean, accents and a symbol beyond 16 bits, there and back."""
    text = "기울기 소실 ñandú é 🎉🎉 기울기"
    vocabulary = Vocabulary(text)
    ids = vocabulary.encode(text)
    assert Naive(len(vocabulary)).fit(ids).log_prob(ids) == 0.0
    model = Markov(len(vocabulary), 2, alpha=0).fit(ids)
    assert vocabulary.decode([int(model.conditional(vocabulary.encode("기울")).argmax())]) == "기"


# ---------------------------------------------------------------- bad inputs


@each_model
@pytest.mark.parametrize(
    ("sequence", "kind", "what"),
    [
        ([0, 3], RangeError, "expected ids from 0 to 2, got 3 at position 1."),
        ([0, -1, 5], RangeError, "expected ids from 0 to 2, got -1 at position 1."),
        ([0.0, 1.0], DTypeError, "ids are whole numbers"),
        ("abc", DTypeError, "Text becomes ids by Vocabulary.encode."),
        ([[0, 1], [1, 2]], ShapeError, "Of a batch (T, B), take one column at a time: ids[:, 0]."),
        ([[0, 1], [1]], ShapeError, "expected one axis, got rows of unequal lengths."),
        ([], DataError, "the sequence is empty.\n  expected at least 1, got 0."),
    ],
)
def test_what_is_no_sequence(name: str, sequence: object, kind: type[Exception], what: str) -> None:
    """The same one error from every model, for each way of asking."""
    model = MODELS[name]()
    ways = [model.score, model.log_prob] + [model.conditional] * (sequence != [])
    for ask in ways:
        with pytest.raises(kind) as caught:
            ask(sequence)
        assert what in str(caught.value)
        assert type(model).__name__ in str(caught.value)


@each_model
def test_a_step_with_no_symbol_of_the_vocabulary(name: str) -> None:
    model = MODELS[name]()
    for wrong, kind in ((3, RangeError), (-1, RangeError), (0.5, DTypeError), (True, DTypeError)):
        with pytest.raises(kind):
            model.step(wrong, model.init_state())
    np.testing.assert_array_equal(
        model.step(np.int64(1), model.init_state())[0], model.step(1, model.init_state())[0]
    )


def test_the_full_text_of_an_error() -> None:
    with pytest.raises(RangeError) as caught:
        Markov(3).fit([0, 1]).score([0, 7])
    assert str(caught.value) == (
        "Markov.score: a symbol is not of the vocabulary.\n"
        "  ids: i64(2,)\n"
        "  expected ids from 0 to 2, got 7 at position 1."
    )


def test_a_prefix_that_is_too_long() -> None:
    """A model that can read 3 symbols tells the fourth and no fifth."""
    model = LanguageModel(Echo(), 3, longest=3)
    assert model.score([0, 1, 2, 0]).shape == (4,)
    assert model.conditional([0, 1, 2]).shape == (3,)
    for ask, sequence in ((model.conditional, [0, 1, 2, 0]), (model.score, [0, 1, 2, 0, 1])):
        with pytest.raises(DataError) as caught:
            ask(sequence)
        assert "expected at most 3 symbols to read, got 4." in str(caught.value)


def test_nothing_to_read_where_something_was() -> None:
    model = NETWORKS["GRU"]()
    with pytest.raises(ArgumentError, match="there is nothing to read"):
        model.step(None, model.step(0, None)[1])


def test_logits_that_are_no_numbers() -> None:
    model = SymbolAR(3, 1, 4, rng=rng())
    model.head.bias.assign(np.full(3, np.nan))
    with pytest.raises(NonFiniteError, match="the model's logits are not finite"):
        model.score([0, 1])


def test_settings_that_are_none() -> None:
    """One clear error each."""
    cases = [
        (
            lambda: Markov(3, -1),
            "Markov: order out of range.\n  expected a whole number of at least 0, got -1.",
        ),
        (lambda: Markov(3, 1.0), "got 1.0."),
        (lambda: Markov(0), "vocabulary_size"),
        (lambda: Markov(3, alpha=-1), "alpha out of range"),
        (lambda: Markov(3, alpha=math.nan), "alpha out of range"),
        (lambda: Markov(3, smoothing="good"), "expected 'additive', 'witten-bell' or 'kneser-ney'."),
        (lambda: Markov(3, smoothing="kneser-ney", alpha=1), "alpha is of no use here"),
        (lambda: NeuralMarkov(3, -1), "NeuralMarkov: order out of range"),
        (lambda: NeuralMarkov(100, 4), "10,406,040,100 weights is too large"),
        (lambda: SymbolAR(3, 0), "SymbolAR: tau out of range"),
        (lambda: CharLM(3, 4, cell="LSTM"), "expected 'rnn', 'gru' or 'lstm'."),
        (lambda: LatentAR(3, nn.LSTM(2, 2, bidirectional=True)), "this net cannot tell what comes next"),
        (lambda: LatentAR(3, nn.LSTM(2, 2, batch_first=True)), "time on the first axis"),
        (lambda: LanguageModel(Echo(), 3, longest=0), "longest out of range"),
    ]
    for make, text in cases:
        with pytest.raises(ArgumentError) as caught:
            make()
        assert text in str(caught.value)


@pytest.mark.parametrize("model", [Naive(3), Markov(3)])
def test_a_model_that_has_counted_nothing(model: SymbolModel) -> None:
    for ask in (lambda: model.score([0]), lambda: model.conditional([]), model.init_state):
        with pytest.raises(DataError, match="nothing has been counted yet"):
            ask()


@pytest.mark.parametrize("double", [False, True])
def test_one_hot_vectors_are_an_embedding_that_is_the_identity(double: bool) -> None:
    """`embedding=0` learns nothing of the symbols; the layer's first weights do it."""
    one_hot, embedded = tgs.CharLM(4, 6, embedding=0), tgs.CharLM(4, 6, embedding=4)
    embedded.load_state_dict({**one_hot.state_dict(), "embedding.weight": np.eye(4, dtype=np.float32)})
    if double:
        one_hot, embedded = one_hot.double(), embedded.double()
    ids = np.array([[0, 3], [1, 2], [2, 2]])
    for a, b in zip(one_hot(ids)[0].numpy(), embedded(ids)[0].numpy(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12 if double else 1e-6)
    assert one_hot.count() == embedded.count() - 16
