"""Laws of runs with other tokenizers: they train, are saved, loaded, sampled, and measured in common units."""

from __future__ import annotations

import gzip
import json
import math
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest

from tinygrad_seq import Generator
from tinygrad_seq.cli import main
from tinygrad_seq.data import JamoTokenizer, Tokens, read_text, stored_tokens
from tinygrad_seq.errors import ArgumentError, CheckpointError
from tinygrad_seq.training import Config, Evaluated, Finished, Started, bits, load_run, sample, train

TEXT = "천이백삼십사, 닭이 값을 했다!\n" * 60
SMALL = {"corpus": "a.txt", "hidden": 8, "batch": 2, "window": 8, "steps": 3, "sample_length": 20, "seed": 5}
KINDS = ["char", "byte", "jamo", pytest.param("bpe:270", marks=pytest.mark.extra("tokenizers"))]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, with one text in it and a cache of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TINYGRAD_SEQ_CACHE", str(tmp_path / "cache"))
    Path("a.txt").write_bytes(unicodedata.normalize("NFD", TEXT).encode())
    return tmp_path


def message(error: type[Exception], call: Callable[..., object], *arguments: object) -> str:
    """The full text of the error that a call raises."""
    with pytest.raises(error) as caught:
        call(*arguments)
    return str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
def test_run_keeps_its_tokenizer(kind: str) -> None:
    """Loaded, the run writes the same text; its losses are in nats per token, bits per character and byte."""
    events = list(train(Config(tokenizer=kind, **SMALL), folder="run"))
    run, loaded = events[0].run, load_run("run", "last")
    assert loaded.vocabulary == run.vocabulary
    assert loaded.config.tokenizer == kind
    assert loaded.vocabulary.kind == kind.split(":")[0]
    texts = [sample(one.model, one.vocabulary, "닭", 30, 1.0, Generator(3)) for one in (run, loaded)]
    assert texts[0] == texts[1]
    assert len(texts[0]) == 30
    end = events[-1]
    assert isinstance(end, Finished)
    size = loaded.vocabulary.measure(loaded.vocabulary.encode(TEXT))
    assert math.isclose(
        end.rates.bits_per_byte * size.utf8_bytes, end.rates.bits_per_character * size.characters, rel_tol=0.1
    )
    if kind == "char":
        assert end.rates.bits_per_character == bits(end.validation)
    row = json.loads(Path("run/metrics.jsonl").read_text().splitlines()[-1])
    assert row["nats_per_token"] == row["validation"] == end.validation
    assert row["bits_per_character"] == end.rates.bits_per_character
    evaluated = next(event for event in events if isinstance(event, Evaluated))
    assert evaluated.rates == end.rates == end.best_rates


def test_jamo_samples_are_well_formed() -> None:
    """Even of a model that has learnt next to nothing, and one by one as they are drawn."""
    run = next(iter(train(Config(tokenizer="jamo", **SMALL)))).run
    for seed in range(5):
        text = sample(run.model, run.vocabulary, "한", 100, 3.0, Generator(seed))
        assert len(text) == 100
        assert text == unicodedata.normalize("NFC", text)
        assert not any("\u1100" <= char <= "\u11ff" for char in text)
        # The prime is whole: what follows does not change its last syllable.
        assert unicodedata.normalize("NFC", "한" + text) == "한" + text


def test_weights_refuse_another_tokenizer() -> None:
    """One of as many ids: the sizes fit, the hash does not."""
    list(train(Config(tokenizer="jamo", **SMALL), folder="run"))
    tokenizer = load_run("run").vocabulary
    assert isinstance(tokenizer, JamoTokenizer)
    symbols = tokenizer.vocabulary.symbols
    other = JamoTokenizer(type(tokenizer.vocabulary)(symbols.replace("!", "?")))
    other.save("run/vocabulary.json")
    assert "belongs to another vocabulary" in message(CheckpointError, load_run, "run")
    tokenizer.vocabulary.save("run/vocabulary.json")
    assert "belongs to another vocabulary" in message(CheckpointError, load_run, "run")
    tokenizer.save("run/vocabulary.json")
    load_run("run")


def test_large_text_trains_like_a_small_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same weights to the bit, whether the ids are in memory or mapped, packed or not."""
    events = [list(train(Config(**SMALL)))]
    monkeypatch.setattr("tinygrad_seq.data.store.cache._LARGE", 1000)
    events.append(list(train(Config(**SMALL))))
    Path("a.gz").write_bytes(gzip.compress(TEXT.encode() * 2))
    monkeypatch.setattr("tinygrad_seq.data.store.cache._LARGE", 8 * Path("a.gz").stat().st_size)
    events.append([next(train(Config(**{**SMALL, "corpus": "a.gz"})))])
    small, large, packed = (one[0] for one in events)
    assert isinstance(small, Started)
    assert not isinstance(small.corpus, Tokens)
    assert isinstance(large.corpus, Tokens)
    assert isinstance(packed.corpus, Tokens)
    assert small.corpus.sha256 == large.corpus.sha256
    assert small.parts == large.parts
    assert events[0][-1].validation == events[1][-1].validation
    for one, other in zip(small.run.model.parameters(), large.run.model.parameters(), strict=True):
        assert (one.numpy() == other.numpy()).all()


def test_tokens_can_be_given() -> None:
    """In Python, whatever they were made from."""
    tokens = stored_tokens("a.txt", "byte")
    started = next(iter(train(Config(**SMALL), corpus=tokens)))
    assert started.corpus is tokens
    assert started.run.vocabulary.spec == "byte"


def test_settings_of_texts_are_checked() -> None:
    """When the settings are made, not when the text is read."""
    assert Config(tokenizer="bpe").tokenizer == "bpe:1024"
    assert Config(encoding="EUC-KR").encoding == "euc_kr"
    assert message(ArgumentError, lambda: Config(tokenizer="jam")).endswith("Did you mean 'jamo'?")
    assert message(ArgumentError, lambda: Config(bad_bytes="x")).startswith(
        "read_text: bad_bytes out of range."
    )


def test_one_character_is_learnt_without_a_nan() -> None:
    """Nothing to predict: every loss is 0."""
    Path("a.txt").write_text("a" * 2000)
    end = list(train(Config(**SMALL)))[-1]
    assert isinstance(end, Finished)
    assert (end.validation, end.rates.bits_per_byte) == (0.0, 0.0)


def test_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    """`tgs train --tokenizer jamo` of a text in cp949, then `tgs sample` with an unknown character."""
    Path("a.txt").write_bytes(TEXT.encode("cp949"))
    options = [
        "--hidden",
        "8",
        "--batch",
        "2",
        "--window",
        "8",
        "--steps",
        "2",
        "--sample-every",
        "0",
        "-o",
        "run",
    ]
    assert main(["train", "a.txt", *options]) == 2
    assert "It reads as Korean in cp949" in capsys.readouterr().err
    assert main(["train", "a.txt", "--encoding", "cp949", "--tokenizer", "jamo", *options]) == 0
    out = capsys.readouterr().out
    assert "tokens  jamo: " in out
    assert read_text("a.txt", encoding="cp949").sha256[:12] in out
    assert main(["sample", "run", "--prime", "닭X이", "-n", "5"]) == 2
    assert "encode: the vocabulary does not hold 'X'." in capsys.readouterr().err
    assert main(["sample", "run", "--prime", "닭X이", "-n", "5", "--on-unknown", "skip"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("닭이")
    assert len(out) == 2 + 5 + 1
