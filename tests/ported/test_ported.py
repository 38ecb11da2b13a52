"""Four programs as PyTorch's users write them run on this library with nothing changed but the import."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import tinygrad_seq as tgs
from tests.ported import char_rnn, gpt_model, trainer, word_model

torch = pytest.importorskip("torch")

IDS = np.random.default_rng(0).integers(0, 13, 400)
CLOSE = {"rtol": 2e-4, "atol": 2e-5}


def alike(mine, theirs):
    """Both models with the weights of theirs."""
    missing, unexpected = mine.load_state_dict(theirs.state_dict())
    assert not missing
    assert not unexpected
    assert list(mine.state_dict()) == list(theirs.state_dict())
    assert [n for n, _ in mine.named_parameters()] == [n for n, _ in theirs.named_parameters()]
    return mine


def same_weights(mine, theirs):
    """After training too."""
    for (name, p), q in zip(mine.state_dict().items(), theirs.state_dict().values(), strict=True):
        np.testing.assert_allclose(p.numpy(), q.numpy(), err_msg=name, **CLOSE)


@pytest.mark.parametrize("flash", [True, False])
def test_a_gpt(flash):
    """Loss over steps of AdamW with two groups, cropping, greedy generation."""
    models, losses, texts = [], [], []
    for library in (torch, tgs):
        program = gpt_model.build(library)
        library.manual_seed(0)
        # In float64: a key's bias has no gradient but rounding, which Adam makes as large as any other.
        model = program.GPT(program.Config(flash=flash)).double()
        models.append(model)
        if library is tgs:
            alike(model, models[0])
    assert models[0].get_num_params() == models[1].get_num_params()
    for library, model in zip((torch, tgs), models, strict=True):
        model.train()
        optimizer = model.configure_optimizers(0.1, 1e-2, (0.9, 0.95), "cpu")
        losses.append([])
        for step in range(6):
            rows = IDS[step * 16 : step * 16 + 18].reshape(2, 9)
            x, y = library.tensor(rows[:, :-1]), library.tensor(rows[:, 1:])
            _, loss = model(x, y)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            library.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            losses[-1].append(float(f"{loss.item():.6f}"))
        model.eval()
        texts.append(model.generate(library.tensor([[1, 2]]), 12, top_k=1).tolist())
        model.crop_block_size(5)
        assert model(library.tensor([[1, 2, 3]]))[0].shape == (1, 1, 13)
        assert len(model.generate(library.tensor([[1, 2]]), 9, temperature=0.8, top_k=4)[0]) == 11
    np.testing.assert_allclose(*losses, **CLOSE)
    assert texts[0] == texts[1]
    same_weights(models[1], models[0])


@pytest.mark.filterwarnings("ignore:divide by zero", "ignore:enable_nested_tensor")
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN_TANH", "RNN_RELU", "Transformer"])
def test_a_word_language_model(kind):
    """Truncated windows, gradients clipped, `p.data.add_`; sampling."""
    models, losses = [], []
    for library in (torch, tgs):
        program = word_model.build(library)
        if kind == "Transformer":
            model = program.TransformerModel(13, 8, 2, 10, 2, dropout=0.0)
            for module in model.modules():
                if isinstance(module, library.nn.Dropout):
                    module.p = 0.0
                if isinstance(getattr(module, "dropout", None), float):
                    module.dropout = 0.0
        else:
            model = program.RNNModel(kind, 13, 8, 8, 2, dropout=0.0, tie_weights=True)
        models.append(model)
    alike(models[1], models[0])
    for library, model in zip((torch, tgs), models, strict=True):
        program = word_model.build(library)
        source = program.batchify(library.tensor(IDS[:82]).type(library.int64), 4)
        assert source.shape == (20, 4)
        losses.append(program.train(model, source, 4, lr=0.5, clip=0.25, bptt=6))
        if kind != "Transformer":
            assert len(program.generate(model, 13, 5, 1.0)) == 5
    np.testing.assert_allclose(*losses, **CLOSE)
    same_weights(models[1], models[0])


@pytest.mark.parametrize("kind", ["gru", "lstm"])
def test_a_character_rnn(kind):
    """One symbol a step, the loss summed up in Python."""
    characters = "abcdefgh "
    text = "".join(characters[i % 9] for i in IDS)
    models, losses = [], []
    for library in (torch, tgs):
        program = char_rnn.build(library)
        models.append(program.CharRNN(9, 10, 9, kind, 2))
    alike(models[1], models[0])
    for library, model in zip((torch, tgs), models, strict=True):
        program = char_rnn.build(library)
        optimizer = library.optim.Adam(model.parameters(), lr=0.01)
        inp, target = program.chunks(text, characters, 7, 3)
        losses.append([program.train(model, optimizer, inp, target) for _ in range(4)])
        assert len(program.generate(model, characters, "ab", 6)) == 8
    np.testing.assert_allclose(*losses, **CLOSE)
    same_weights(models[1], models[0])


def test_a_trainer():
    """A config, callbacks, groups by kind of module."""
    config = SimpleNamespace(
        device="auto", weight_decay=0.1, learning_rate=1e-2, betas=(0.9, 0.95), grad_norm_clip=1.0
    )
    models = [trainer.build(library).Net(13, 6, 4) for library in (torch, tgs)]
    alike(models[1], models[0])
    seen: list[list[float]] = []
    for library, model in zip((torch, tgs), models, strict=True):
        rows = IDS[:200].reshape(8, 5, 5)
        batches = [(library.tensor(r[:, :4]), library.tensor(r[:, 4])) for r in rows]
        run = trainer.build(library).Trainer(config, model, batches)
        losses: list[float] = []
        run.add_callback("on_batch_end", lambda t, losses=losses: losses.append(round(t.loss.item(), 6)))
        run.run()
        seen.append(losses)
    np.testing.assert_allclose(*seen, **CLOSE)
    same_weights(models[1], models[0])


def test_the_programs_know_no_library():
    """They import neither library, and name at least 74 things of it: what such programs ask for."""
    names = set()
    for program in (gpt_model, word_model, char_rnn, trainer):
        text = Path(program.__file__).read_text(encoding="utf-8")
        assert "import torch" not in text
        assert "tinygrad_seq" not in text
        names |= set(re.findall(r"\b(?:torch|nn|F|optim|init|utils)\.([A-Za-z_]\w*)", text))
        names |= set(re.findall(r"\.([a-z_]\w*)\(", text))
    assert len(names) >= 74
