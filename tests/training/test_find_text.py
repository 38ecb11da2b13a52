"""The text of a run is found from anywhere, after the run, the text or both were moved; its hash is the judge."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tinygrad_seq.analysis.compare import own_parts, read_record
from tinygrad_seq.cli import main
from tinygrad_seq.data import Corpus
from tinygrad_seq.errors import CheckpointError, DataError
from tinygrad_seq.training import Config, Finished, Step, load_run, resume, train
from tinygrad_seq.training.find_text import begun_in, found_text

TEXT = "to be or not to be, that is the question:\n" * 40
SMALL = Config(hidden=6, batch=3, window=6, steps=4, eval_every=2, sample_every=0)


def begun(folder: Path, corpus: str, run: str = "runs/a", steps: int = 3) -> Path:
    """A run that was started in a folder and left in the middle."""
    folder.mkdir(parents=True, exist_ok=True)
    before = Path.cwd()
    os.chdir(folder)
    try:
        events = train(SMALL.changed({"corpus": (corpus,)}), folder=run)
        for event in events:
            if isinstance(event, Step) and event.step == steps:
                break
        events.close()
    finally:
        os.chdir(before)
    return folder / run


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a text in `texts` and a run of it in `runs`; the working folder is another one."""
    there = tmp_path / "project"
    (there / "texts").mkdir(parents=True)
    (there / "texts" / "hamlet.txt").write_text(TEXT, encoding="utf-8")
    begun(there, "texts/hamlet.txt")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    return there


def moved_with_its_text(project: Path) -> Path:
    return project.rename(project.parent / "moved") / "runs" / "a"


def moved_alone(project: Path) -> Path:
    return (project / "runs" / "a").rename(project.parent / "alone")


def not_moved(project: Path) -> Path:
    return project / "runs" / "a"


def flattened(project: Path) -> Path:
    """Run and text side by side in a folder of another machine."""
    flat = project.parent / "flat"
    flat.mkdir()
    (project / "runs" / "a").rename(flat / "a")
    (project / "texts" / "hamlet.txt").rename(flat / "hamlet.txt")
    shutil.rmtree(project)
    return flat / "a"


def changed_where_it_was(project: Path) -> Path:
    """The first place that is looked at has another text; what is asked for is here."""
    (project / "texts" / "hamlet.txt").rename("hamlet.txt")
    (project / "texts" / "hamlet.txt").write_text("other " * 300, encoding="utf-8")
    return project / "runs" / "a"


MOVES = [not_moved, moved_with_its_text, moved_alone, flattened, changed_where_it_was]


@pytest.mark.parametrize("move", MOVES, ids=lambda move: move.__name__)
def test_text_is_found(
    project: Path, move: Callable[[Path], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """By evaluation, examination, comparison and inspection; and the run goes on, from there on by its new place."""
    run = move(project)
    tokenizer = load_run(run).vocabulary
    assert own_parts(read_record(run), tokenizer).sha256 == Corpus(TEXT).sha256
    assert main(["compare", str(run), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["runs"][0]["notes"] == []
    assert isinstance(list(resume(run))[-1], Finished)
    again = run.rename(run.with_name("again"))
    assert own_parts(read_record(again), tokenizer).sha256 == Corpus(TEXT).sha256


def test_every_command_finds_it(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From another working folder, after run and text were moved together."""
    run = str(moved_with_its_text(project))
    assert main(["eval", run, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["text"]["sha256"] == Corpus(TEXT).sha256
    assert main(["doctor", run]) == 0
    assert "neither counting nor" not in capsys.readouterr().out
    assert main(["inspect", run, "--steps", "12", "-o", "report.json"]) == 0
    assert "from the validation part of the run's own text" in capsys.readouterr().out
    assert main(["graph", run]) == 0
    assert main(["train", "--resume", run, "-q"]) == 0


def test_text_that_is_gone_is_named(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where it was looked for, and the option that says where it is; which then works in every command."""
    (project / "texts" / "hamlet.txt").rename("elsewhere.txt")
    run = project / "runs" / "a"
    above = [project / "texts", Path.cwd() / "texts", project / "runs" / "texts"]
    places = ", ".join(repr(str(one)) for one in above)
    where = "expected the files of its config.toml, from the folder that it was started in or beside the run."
    for command, what, hint in (
        ("eval", f"{run}: its text", "--data PATH. Other files are measured by: tgs eval RUN FILE..."),
        ("resume", f"resume: the text of the run in {str(run)!r}", f"tgs train PATH --resume {run}"),
    ):
        arguments = ["train", "--resume", str(run)] if command == "resume" else ["eval", str(run)]
        assert main(arguments) == 2
        assert capsys.readouterr().err == (
            f"{what} cannot be had again.\n  corpus: ['texts/hamlet.txt']\n  it is not in {places}.\n  {where}\n"
            f"  Name it where it is now: {hint}\n"
        )
    assert main(["inspect", str(run), "--data", "nowhere.txt", "-o", "a.json"]) == 2
    assert capsys.readouterr().err.startswith("read_text: 'nowhere.txt' does not exist.\n")
    for command in ("eval", "doctor", "compare", "inspect"):
        more = ["-o", "a.json", "--steps", "12"] if command == "inspect" else ["--json"]
        assert main([command, str(run), "--data", "elsewhere.txt", *more]) == 0
        said = capsys.readouterr().out
        assert "cannot be had again" not in said
        assert "written by the model" not in said
    assert main(["train", "elsewhere.txt", "--resume", str(run), "-q"]) == 0
    assert load_run(run).config.corpus == ("elsewhere.txt",), "from then on the run knows where it is"
    assert main(["eval", str(run)]) == 0


def test_another_text_is_never_taken(project: Path) -> None:
    """Under the right name, everywhere: refused, and named as what it is."""
    (project / "texts" / "hamlet.txt").write_text("other " * 300, encoding="utf-8")
    Path("hamlet.txt").write_text("a third one " * 300, encoding="utf-8")
    run = project / "runs" / "a"
    with pytest.raises(CheckpointError, match="was trained on another text than"):
        resume(run)
    with pytest.raises(DataError, match="is not what it was"):
        own_parts(read_record(run), load_run(run).vocabulary)
    with pytest.raises(DataError, match="is not what it was"):
        own_parts(read_record(run), load_run(run).vocabulary, ["hamlet.txt"])


def test_names_of_every_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Absolute names, folders, globs in folders with brackets in their names: moved with the run."""
    for k, name in enumerate(("{}/books/a.txt", "books", "books/*.txt")):
        there = tmp_path / f"[{k}]"
        (there / "books").mkdir(parents=True)
        for letter in "ab":
            (there / "books" / f"{letter}.txt").write_text(TEXT + letter, encoding="utf-8")
        begun(there, name.format(there))
        run = there.rename(tmp_path / f"moved [{k}]") / "runs" / "a"
        assert isinstance(list(resume(run))[-1], Finished), name


def test_run_of_an_earlier_version(project: Path) -> None:
    """Its settings do not say where it began: two folders above is tried."""
    run = moved_with_its_text(project)
    config = run / "config.toml"
    lines = config.read_text(encoding="utf-8").splitlines(keepends=True)
    config.write_text("".join(x for x in lines if not x.startswith("begun_in")), encoding="utf-8")
    assert own_parts(read_record(run), load_run(run).vocabulary).sha256 == Corpus(TEXT).sha256
    assert isinstance(list(resume(run))[-1], Finished)


def test_facts_that_make_no_sense_are_passed_over(tmp_path: Path) -> None:
    """A config that was edited badly: what is no text, and names that no system has."""
    read = lambda names: Corpus("x", names[0])  # noqa: E731
    (tmp_path / "a.txt").write_text("x")
    facts = {"begun_in": 3, "begun_in_from_run": ["x"], "sha256": Corpus("x").sha256}
    found = found_text("what", ["a.txt"], tmp_path / "run", facts, read, "way")
    assert found.same
    assert found.place == str(tmp_path)
    facts |= {"begun_in": "a\0b", "begun_in_from_run": "\0"}
    assert found_text("what", ["a.txt"], tmp_path / "run", facts, read, "way").same
    assert begun_in(tmp_path / "run", str(tmp_path)) == {"begun_in": str(tmp_path), "begun_in_from_run": ".."}
