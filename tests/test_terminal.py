"""What came from outside is shown so that no terminal obeys it; streams that close, fill up or are not there."""

import ast
import json
import os
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest

import tinygrad_seq as tgs
from tinygrad_seq.cli import COMMANDS, main
from tinygrad_seq.cli.progress import resume_command
from tinygrad_seq.errors import explain
from tinygrad_seq.terminal import VisibleStream, bare, one_line, visible
from tinygrad_seq.training.toml import to_toml

PACKAGE = Path(tgs.__file__).parent
POSIX = pytest.mark.skipif(os.name == "nt", reason="signals, /dev/full and closed descriptors of POSIX")
BIDIRECTIONAL = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
MARKS = "\u061c\u200e\u200f"
EVERY = [chr(code) for code in range(0x110000)]
HARMFUL = [
    c
    for c in EVERY
    if (unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") and c not in "\n\t")
    or unicodedata.bidirectional(c) in BIDIRECTIONAL
    or c in MARKS
]
HOSTILE = "\x1b]0;title\x07\x1b[2J\x9b31m\u202egnp.\x7f[red]"
SHOWN = "\\u001b]0;title\\u0007\\u001b[2J\\u009b31m\\u202egnp.\\u007f[red]"


def test_what_unicode_calls_control_or_direction_is_escaped() -> None:
    """Every code point of these kinds, by the tables of Unicode that Python has."""
    assert len(HARMFUL) > 2048 + 60
    for c in HARMFUL:
        assert visible(c).isascii()
        assert visible(c).isprintable()
        assert visible(c).startswith("\\u")


def test_letters_of_all_scripts_stay() -> None:
    """No letter, mark, number, sign or space is changed; nor are the joiners that scripts are written with."""
    kept = [c for c in EVERY if unicodedata.category(c)[0] in "LMNPS" or unicodedata.category(c) == "Zs"]
    text = "".join(c for c in kept if c != "\u180e") + "\u200c\u200d\n\t"
    assert visible(text) == text
    assert visible("한글 [red]\\u001b") == "한글 [red]\\u001b"


def test_a_line_of_json_keeps_its_content() -> None:
    """The notation is that of JSON: what was harmful in a string is the same string when it is read."""
    text = "".join(c for c in EVERY if c not in "\ud800\udfff" and unicodedata.category(c) != "Cs")
    line = visible(json.dumps({"a": text}, ensure_ascii=False))
    assert json.loads(line) == {"a": text}
    assert not set(HARMFUL) & set(line)
    assert visible("\U000e0041") == "\\udb40\\udc41"


def test_a_name_stays_on_its_line() -> None:
    """Newlines and tabs, which a text may have, forge lines in a name."""
    assert one_line(Path("a\nsaved b\tc\x1b")) == "a\\u000asaved b\\u0009c\\u001b"
    assert visible("a\n\tb") == "a\n\tb"


def test_errors_are_visible() -> None:
    """Whatever an error quotes, in a notebook and a script too."""
    text = explain(f"what {HOSTILE}", {HOSTILE: 3}, HOSTILE, HOSTILE)
    assert text == f"what {SHOWN}.\n  {SHOWN}: 3\n  {SHOWN}\n  {SHOWN}"


def test_toml_and_commands_read_back() -> None:
    """Settings hold no raw control character, and the command that is suggested means the same folder."""
    import tomllib

    name = HOSTILE + "\U000e0041\n'\\"
    text = to_toml({"corpus": (name,)})
    assert not set(HARMFUL) & set(text)
    assert tomllib.loads(text) == {"corpus": [name]}


@POSIX
@pytest.mark.parametrize(
    "name", ["a'b\\" + HOSTILE + "\n한", "runs/소설-lstm64", "a b", "$HOME", "~", "한;글"]
)
def test_a_suggested_command_reads_back(name: str) -> None:
    """A shell that knows $'...' has the very name from what is shown; letters of any script stand without quotes."""
    command = resume_command(Path(name))
    assert one_line(command) == command
    word = command.partition("--resume ")[2]
    done = subprocess.run(["bash", "-c", f"printf %s {word}"], capture_output=True, check=True)
    assert done.stdout == name.encode()
    assert (word == name) == (name == "runs/소설-lstm64")


@pytest.mark.parametrize("command", [*COMMANDS, HOSTILE])
def test_no_command_lets_a_name_through(
    command: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that does not exist, and an option that does not, in the words of every command."""
    monkeypatch.chdir(tmp_path)
    for arguments in ([command, HOSTILE], [command, HOSTILE, f"--{HOSTILE}"]):
        assert main(arguments) == 2
        out, err = capsys.readouterr()
        assert not set(HARMFUL) & set(out + err)
        assert "title" in err


def test_the_stream_is_put_back(capsys: pytest.CaptureFixture[str]) -> None:
    """A program that calls `main` finds its own streams afterwards."""
    before = sys.stdout, sys.stderr
    assert main(["--version"]) == 0
    assert (sys.stdout, sys.stderr) == before
    stream = VisibleStream(sys.stdout)
    stream.writelines(["\x1b", "b\n"])
    assert capsys.readouterr().out.endswith("\\u001bb\n")
    assert bare(stream) is bare(sys.stdout) is sys.stdout  # type: ignore[arg-type]


# Where a stream may be written past the shield: each of these makes its text visible itself, or has a reason.
WRITERS = {
    "training/console.py": "the lines of a run, each through `visible`",
    "runtime/kernel_cache.py": "one line, through `visible`",
    "cli/sample.py": "text into a pipe or a file as it is; a terminal has it through the shield",
    "cli/train.py": "the name of a folder into a pipe, for a program",
    "cli/streams.py": "the shield",
    "terminal.py": "the shield",
    "viz/render/layout_process.py": "a picture, in a process whose output we read",
}


def test_nothing_writes_past_the_shield() -> None:
    """Outside of the command line no print; in it no stream but sys.stdout and sys.stderr, which are shielded."""
    assert [name for name in WRITERS if not (PACKAGE / name).exists()] == []
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        if name in WRITERS:
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
                assert name.startswith("cli/"), f"{name}:{node.lineno} prints"
            if isinstance(node, ast.Attribute):
                what = ast.unparse(node)
                past = (
                    "__stdout__",
                    "__stderr__",
                    "stdout.buffer",
                    "stderr.buffer",
                    "stdout.bare",
                    "stderr.bare",
                )
                assert not what.endswith(past), f"{name}:{node.lineno} {what}"
                writes = what in ("sys.stdout.write", "sys.stderr.write")
                assert not writes or name.startswith("cli/"), f"{name}:{node.lineno} {what}"
            if isinstance(node, ast.ImportFrom) and node.module == "tinygrad_seq.terminal":
                assert "bare" not in {one.name for one in node.names}, (
                    f"{name} takes the stream behind the shield"
                )


# ---- streams that close, fill up, or are not there -----------------------------------------------------


def run(*arguments: str, shell: str = "", **more: object) -> "subprocess.CompletedProcess[bytes]":
    """A command in a process of its own, with redirections as the shell has them."""
    line = f'"$0" -m tinygrad_seq "$@" {shell}'
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent), **more.pop("env", {})}  # type: ignore[dict-item]
    return subprocess.run(
        ["bash", "-c", line, sys.executable, *arguments],
        capture_output=True,
        env=environment,
        **more,  # type: ignore[call-overload]
    )


@POSIX
@pytest.mark.parametrize("arguments", [("--help",), ("train", "--help"), ("kernels", "--json")], ids=" ".join)
def test_a_reader_that_has_gone(arguments: tuple[str, ...], tmp_path: Path) -> None:
    """The exit code is that of a program ended by SIGPIPE, and there is no word."""
    reading, writing = os.pipe()
    os.close(reading)
    with subprocess.Popen(
        [sys.executable, "-m", "tinygrad_seq", *arguments],
        stdout=writing,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(PACKAGE.parent), "TINYGRAD_SEQ_CACHE": str(tmp_path)},
    ) as process:
        os.close(writing)
        assert process.communicate()[1] == b""
        assert process.returncode == 141


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="/dev/full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_device(unbuffered: str) -> None:
    """One line, whenever the system says so; where it is standard error, none."""
    full = b"tgs: standard output cannot be written: No space left on device.\n"
    done = run("train", "--help", shell=">/dev/full", env={"PYTHONUNBUFFERED": unbuffered})
    assert (done.returncode, done.stderr) == (2, full)
    done = run("nosuch", shell="2>/dev/full", env={"PYTHONUNBUFFERED": unbuffered})
    assert (done.returncode, done.stdout) == (2, b"")


@POSIX
def test_streams_that_are_closed() -> None:
    """Without standard output, error or input a command does its work."""
    assert run("--version", shell=">&-").returncode == 0
    assert run("nosuch", shell="2>&-").returncode == 2
    done = run("train", "-", "--dry-run", shell="<&-")
    assert done.returncode == 2
    assert b"Traceback" not in done.stderr
    # The first file to be opened must not become the standard output.
    done = run("graph", "rnn", "-o", "a.dot", "--steps", "2", shell=">&- 2>&-; head -c 7 a.dot; rm a.dot")
    assert done.stdout == b"digraph"


@POSIX
@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "cp949"])
def test_encodings_that_lack_letters(encoding: str) -> None:
    """What an encoding does not have becomes a question mark."""
    done = run("eval", "한글\ud83d\udcff".encode("utf-8", "surrogatepass").decode("utf-8", "replace"),
               env={"PYTHONIOENCODING": encoding})  # fmt: skip
    assert done.returncode == 2
    assert b"Traceback" not in done.stderr
    assert "한글".encode(encoding, "replace") in done.stderr
