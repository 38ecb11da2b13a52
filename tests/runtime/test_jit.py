"""Kernels on the disk: what their names depend on, and what may happen to the folder, the files and numba."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_seq
from tinygrad_seq import version
from tinygrad_seq.runtime import jit, kernel_cache
from tinygrad_seq.runtime.kernel_digests import is_sound, write_digest

pytestmark = [pytest.mark.switched_off, pytest.mark.engine]

ROOT = Path(tinygrad_seq.__file__).parent.parent
COMPILER = pytest.mark.skipif(not jit.kernels_wanted(), reason="numba is switched off or not installed")
POSIX = pytest.mark.skipif(os.name == "nt", reason="owners, modes and limits are POSIX")

SOURCE = '''"""Derived from the tape of `twice`, forward."""


def kernel(x, out):
    for i in range(len(x)):
        out[i] = x[i] * 2.0
'''
SCRIPT = f"""
import sys, numpy as np
from tinygrad_seq.runtime import jit
before = "numba" in sys.modules
if not jit.kernels_wanted():
    print("composed", "numba" in sys.modules)
    sys.exit()
x = np.arange(3.0)
jit.build({SOURCE!r})(x, x)
print(*x.tolist(), before)
"""
FUSED = """
import sys, numpy as np, tinygrad_seq as tgs
from tinygrad_seq import functional as F
from tinygrad_seq.fuser.decorator import fused
x = tgs.tensor(np.linspace(-1, 1, 12, dtype="f4").reshape(3, 4), requires_grad=True)
(fused(F.softmax)(x) ** 2).sum().backward()
print(x.grad.numpy().sum(), "numba" in sys.modules)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of kernels that is not there yet; nothing has been built or said."""
    monkeypatch.setenv("TINYGRAD_SEQ_CACHE", str(tmp_path / "my kernels \u00e9\u97d3"))
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    start_afresh(monkeypatch)
    return tmp_path / "my kernels \u00e9\u97d3"


@pytest.fixture(autouse=True)
def _nothing_stays():
    """Later tests find no folder of these in the caches."""
    yield
    kernel_cache.cache_folder.cache_clear()
    jit.build.cache_clear()


def start_afresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a new process: nothing in memory."""
    monkeypatch.setattr(kernel_cache, "_said", set())
    kernel_cache.cache_folder.cache_clear()
    jit.build.cache_clear()


def doubled(source: str = SOURCE, dtype: str = "f8") -> list[float]:
    """What the kernel makes of 0, 1, 2."""
    x, out = np.arange(3, dtype=dtype), np.zeros(3, dtype)
    jit.build(source)(x, out)
    return out.tolist()


def run(script: str = SCRIPT, **environment: str) -> subprocess.CompletedProcess[str]:
    """A script in a process of its own."""
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1", **environment}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=variables, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done


# ---- what a name depends on ----------------------------------------------------------------------------------
@COMPILER
def test_the_name_depends_on_all_that_the_kernel_does(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Text, function, flags, the texts of imported modules and the version each give a name of their own."""
    importing = "from tinygrad_seq.fuser.scalars.maths import exp_f32\n" + SOURCE
    jit.build(SOURCE)
    jit.build(SOURCE.replace("twice", "double"))
    jit.build(SOURCE, flags=("contract",))
    jit.build(SOURCE + "\n\nother = kernel\n", "other")
    jit.build(SOURCE + "\n\nother = kernel\n", "kernel")
    jit.build(importing)
    jit.build.cache_clear()
    real = jit._module_text
    monkeypatch.setattr(jit, "_module_text", lambda name: (real(name)[0] + "# changed\n", real(name)[1]))
    jit.build(importing)
    jit.build(SOURCE)  # imports nothing, and is the file of above
    assert len(list(folder.glob("k_*.py"))) == 7
    monkeypatch.setattr(version, "__version__", "0.0.0")
    jit._surroundings.cache_clear()
    jit.build.cache_clear()
    try:
        jit.build(SOURCE)
    finally:
        jit._surroundings.cache_clear()
    assert len(list(folder.glob("k_*.py"))) == 8


@COMPILER
@pytest.mark.parametrize(("variable", "value"), [("NUMBA_CPU_NAME", "generic"), ("NUMBA_CPU_FEATURES", "")])
def test_code_for_another_processor_has_a_name_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    """These tell numba what processor to compile for: each has its kernels, and finds them again."""
    for name in ("NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES", "NUMBA_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
    counts = []
    for chosen in ({}, {variable: value}, {}, {variable: value}):
        assert run(TINYGRAD_SEQ_CACHE=str(tmp_path / "k"), **chosen).stdout == "0.0 2.0 4.0 False\n"
        counts.append(len(list((tmp_path / "k").glob("k_*.py"))))
    assert counts == [1, 2, 2, 2]


def test_modules_are_followed_to_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through `import`, `from`, modules of a package, relative names and circles; nothing foreign."""
    texts = {
        "tinygrad_seq.one": ("from . import two\nfrom .three import x\nimport os\n", "tinygrad_seq"),
        "tinygrad_seq.two": ("import tinygrad_seq.one\n", "tinygrad_seq"),
        "tinygrad_seq.three": ("def f():\n    from tinygrad_seq.deep import four\n", "tinygrad_seq"),
        "tinygrad_seq.deep": ("", "tinygrad_seq.deep"),
        "tinygrad_seq.deep.four": ("from ..two import y\nfrom .five import z\n", "tinygrad_seq.deep"),
        "tinygrad_seq.deep.five": ("last = 5\n", "tinygrad_seq.deep"),
    }
    monkeypatch.setattr(jit, "_module_text", lambda name: texts.get(name, ("", "")))
    behind = jit._texts_behind("import tinygrad_seq.one as one, json\n")
    assert all(text in behind for text, _ in texts.values())
    assert "json" not in behind
    monkeypatch.undo()
    behind = jit._texts_behind("from tinygrad_seq.fuser.scalars.maths import exp_f32\n")
    for name in ("maths", "intrinsics"):
        assert (ROOT / "tinygrad_seq/fuser/scalars" / f"{name}.py").read_text(encoding="utf-8") in behind


# ---- the folder ----------------------------------------------------------------------------------------------
@COMPILER
def test_a_kernel_is_built_once_and_said_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Beside its file lies how long it took and when; a second process builds nothing and says nothing."""
    start = time.time()
    assert doubled() == doubled(SOURCE.replace("twice", "double")) == [0.0, 2.0, 4.0]
    assert capfd.readouterr().err == (
        f"tinygrad_seq: building kernels for this processor, kept in {folder}\n"
    )
    for path in folder.glob("k_*.py"):
        assert path.read_text(encoding="utf-8") in (SOURCE, SOURCE.replace("twice", "double"))
        facts = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        assert 0 < facts["seconds"] < time.time() - start + 0.01
        assert start - 0.01 <= facts["built"] <= time.time() + 0.01
    files = {path: path.stat().st_mtime_ns for path in folder.rglob("k_*")}
    assert len(files) == 2 * 6
    start_afresh(monkeypatch)
    assert doubled() == [0.0, 2.0, 4.0]
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("k_*")} == files
    assert capfd.readouterr().err == ""
    if os.name != "nt":
        assert folder.stat().st_mode & 0o777 == 0o700


@COMPILER
def test_it_is_said_before_it_is_built(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever waits knows why; without an error stream nothing is said and nothing fails."""
    said: list[str] = []
    kernel = jit.build(SOURCE)
    monkeypatch.setattr(kernel_cache, "say", lambda kind, text: said.append(kind))
    monkeypatch.setattr(kernel, "_attempt", lambda *rest: said.append("built"))
    kernel(np.zeros(1), np.zeros(1))
    assert said == ["building", "built"]
    monkeypatch.undo()
    monkeypatch.setattr(sys, "stderr", None)
    kernel_cache.say("nobody", "hears it")
    assert capsys.readouterr().out == ""


@COMPILER
def test_two_processes_build_at_once(tmp_path: Path) -> None:
    """Both succeed, and a third finds what they built."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TINYGRAD_SEQ_CACHE": str(tmp_path / "k")}
    command = [sys.executable, "-c", FUSED]
    both = [subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) for _ in range(2)]
    assert [p.wait(timeout=120) for p in both] == [0, 0]
    files = sorted(p.name for p in (tmp_path / "k").rglob("*"))
    run(FUSED, TINYGRAD_SEQ_CACHE=str(tmp_path / "k"))
    assert sorted(p.name for p in (tmp_path / "k").rglob("*")) == files


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "cut short": lambda data: data[:20],
    "emptied": lambda data: b"",
    "something else": lambda data: b"raise SystemExit('executed')\n" * 9,
    "not UTF-8": lambda data: b"\xff" * 99,
    "one byte another": lambda data: (
        data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1 :]
    ),
}


@COMPILER
@pytest.mark.parametrize("ending", [".py", ".json", ".nbi", ".nbc", ".digest", ""])
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_cache_mends_itself(
    folder: Path, monkeypatch: pytest.MonkeyPatch, ending: str, damage: str
) -> None:
    """What lies on the disk is made again where it is wrong, and never executed."""
    doubled()
    sound = sorted(path.name for path in folder.rglob("k_*"))
    for path in folder.rglob(f"k_*{ending}"):
        path.write_bytes(DAMAGE[damage](path.read_bytes()))
    for _ in range(2):
        start_afresh(monkeypatch)
        assert doubled() == [0.0, 2.0, 4.0]
    assert sorted(path.name for path in folder.rglob("k_*")) == sound
    assert next(folder.glob("*.py")).read_text(encoding="utf-8") == SOURCE
    start_afresh(monkeypatch)
    kernel = jit.build(SOURCE)
    kernel(np.zeros(3), np.zeros(3))
    assert sum(kernel.run.stats.cache_hits.values()) == 1  # mended, not only worked around


class _Mark:
    """Leaves a file when it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


@COMPILER
@pytest.mark.parametrize("ending", [".nbi", ".nbc"])
def test_nothing_is_unpickled_that_has_not_its_digest(
    folder: Path, monkeypatch: pytest.MonkeyPatch, ending: str, tmp_path: Path
) -> None:
    """Numba unpickles what it finds, and a pickle may do anything: it is not shown a file that was changed."""
    doubled()
    (path,) = folder.rglob(f"k_*{ending}")
    path.write_bytes(pickle.dumps(_Mark(tmp_path / "unpickled")))
    start_afresh(monkeypatch)
    assert doubled() == [0.0, 2.0, 4.0]
    assert not (tmp_path / "unpickled").exists()
    write_digest(path)
    assert is_sound(path)


@COMPILER
def test_files_that_were_exchanged_are_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sound file of another kernel, its digest with it, under this one's name."""
    thrice = SOURCE.replace("2.0", "3.0")
    doubled(), doubled(thrice)
    one, other = sorted(folder.rglob("*.nbc"))
    for end in ("", ".digest"):
        shutil.copy(f"{one}{end}", f"{other}{end}")
    assert not is_sound(other)
    start_afresh(monkeypatch)
    assert (doubled(), doubled(thrice)) == ([0.0, 2.0, 4.0], [0.0, 3.0, 6.0])


@COMPILER
def test_a_numba_that_keeps_its_files_otherwise_is_given_none(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """What cannot be checked is not read: kernels are then built for the process alone, which is said."""

    def unknown(dispatcher: object) -> None:
        raise AttributeError("_cache")

    monkeypatch.setattr(jit, "enable_checked_cache", unknown)
    assert doubled() == [0.0, 2.0, 4.0]
    assert not list(folder.rglob("*.nb[ic]"))
    assert "numba cannot keep its files there (AttributeError)" in capfd.readouterr().err


@COMPILER
def test_other_dtypes_find_their_damaged_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second set of dtypes is read later than the first, and mended as well."""
    assert doubled(dtype="f8") == doubled(dtype="f4") == [0.0, 2.0, 4.0]
    later = max(folder.rglob("*.nbc"), key=lambda path: path.name)
    later.write_bytes(b"?")
    start_afresh(monkeypatch)
    assert doubled(dtype="f8") == doubled(dtype="f4") == [0.0, 2.0, 4.0]


@COMPILER
def test_the_folder_may_vanish_at_any_time(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Before a kernel is stored and between storing and compiling; it is made again, private as before."""
    doubled()
    shutil.rmtree(folder)
    assert doubled(SOURCE.replace("2.0", "3.0")) == [0.0, 3.0, 6.0]
    kernel, out = jit.build(SOURCE.replace("2.0", "4.0")), np.zeros(3)
    shutil.rmtree(folder)
    kernel(np.arange(3.0), out)
    assert out.tolist() == [0.0, 4.0, 8.0]
    assert len(list(folder.rglob("k_*"))) == 6
    # A relative name means the folder it was first used in.
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TINYGRAD_SEQ_CACHE", "here")
    start_afresh(monkeypatch)
    kernel = jit.build(SOURCE)
    monkeypatch.chdir(tmp_path.parent)
    kernel(np.zeros(3), np.zeros(3))
    assert len(list((tmp_path / "here").rglob("k_*"))) == 6


def _of_all(path: Path) -> None:
    path.mkdir()
    path.chmod(0o777)


UNFIT: dict[str, tuple[Callable[[Path], object], str]] = {
    "others can write": (_of_all, "others can write to it"),
    "a file": (lambda path: path.write_text("mine"), "it cannot be made"),
}


@COMPILER
@POSIX
@pytest.mark.parametrize("name", UNFIT)
def test_without_a_folder_kernels_live_in_memory(
    folder: Path, capfd: pytest.CaptureFixture[str], name: str
) -> None:
    """It is said once, the result is the same, nothing is written."""
    make, why = UNFIT[name]
    make(folder)
    assert doubled() == doubled(SOURCE.replace("twice", "double")) == [0.0, 2.0, 4.0]
    said = capfd.readouterr().err
    assert said.count(f"{folder} is not used for kernels: {why}") == 1
    assert len(said.splitlines()) == 2  # that they are built, and where not
    assert not folder.is_dir() or not list(folder.iterdir())


@COMPILER
@POSIX
def test_a_folder_of_somebody_else_is_not_used(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Code that another user may have put there is never run."""
    folder.mkdir(mode=0o700)
    monkeypatch.setattr(os, "getuid", lambda: folder.stat().st_uid + 1)
    assert kernel_cache._unfit(folder) == "it belongs to another user"
    assert doubled() == [0.0, 2.0, 4.0]
    assert not list(folder.iterdir())
    monkeypatch.undo()
    monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.W_OK)
    assert kernel_cache._unfit(folder) == "it cannot be written to"


@COMPILER
@POSIX
@pytest.mark.parametrize("room", [0, 3000])
def test_on_a_full_disk_kernels_live_in_memory(tmp_path: Path, room: int) -> None:
    """Whether the source does not fit or only numba's files: the same numbers, one message, no rubbish."""
    limit = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({room}, {room}))\n"
    (tmp_path / "tmp").mkdir()
    done = run(
        limit + SCRIPT,
        TINYGRAD_SEQ_CACHE=str(tmp_path / "k"),
        TMPDIR=str(tmp_path / "tmp"),
        PYTHONDONTWRITEBYTECODE="1",
    )
    assert done.stdout == "0.0 2.0 4.0 False\n"
    assert done.stderr.count("is not used for kernels") == 1
    assert "Traceback" not in done.stderr
    assert not list((tmp_path / "tmp").iterdir())
    assert {path.suffix for path in (tmp_path / "k").rglob("*") if path.is_file()} <= {".py"}


def test_the_folder_is_the_systems_usual_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """By platform, by variable, with ~; a user without a home is told so."""
    for name in ("TINYGRAD_SEQ_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    places = {"linux": ".cache", "darwin": "Library/Caches", "win32": "AppData/Local"}
    for platform, place in places.items():
        monkeypatch.setattr(sys, "platform", platform)
        assert kernel_cache.folder_name().relative_to(tmp_path).as_posix().startswith(f"{place}/tinygrad_seq")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "x"))
    assert kernel_cache.folder_name() == tmp_path / "x" / "tinygrad_seq"
    monkeypatch.setenv("TINYGRAD_SEQ_CACHE", os.path.join("~", "mine"))
    assert kernel_cache.folder_name() == Path("~/mine").expanduser()

    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("TINYGRAD_SEQ_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", homeless)
    monkeypatch.setattr(kernel_cache, "_said", set())
    kernel_cache.cache_folder.cache_clear()
    assert kernel_cache.cache_folder() is None
    assert kernel_cache._said == {"unused"}


@COMPILER
def test_an_error_of_the_kernel_itself_comes_out(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """What numba cannot compile is no matter of the cache, and the folder is not blamed."""
    with pytest.raises(Exception, match="nowhere"):
        doubled(SOURCE.replace("x[i]", "nowhere"))
    assert "is not used" not in capfd.readouterr().err


# ---- the compiler --------------------------------------------------------------------------------------------
@COMPILER
def test_without_the_compiler_the_composition_runs(tmp_path: Path) -> None:
    """NUMBA_DISABLE_JIT=1: the same numbers, numba not even imported."""
    cache = str(tmp_path / "k")
    with_it = run(FUSED, TINYGRAD_SEQ_CACHE=cache, NUMBA_DISABLE_JIT="0")
    without = run(FUSED, TINYGRAD_SEQ_CACHE=cache, NUMBA_DISABLE_JIT="1")
    assert (with_it.stdout.split()[1], without.stdout.split()[1]) == ("True", "False")
    assert float(with_it.stdout.split()[0]) == pytest.approx(float(without.stdout.split()[0]), abs=1e-7)


TRAINED = """
import tinygrad_seq as tgs
from tinygrad_seq.data import Corpus
from tinygrad_seq.training import Config, fit
text = Corpus("to be or not to be, that is the question:\\n" * 40, "hamlet")
for model in ("lstm", "gru", "transformer"):
    config = Config(model=model, hidden=8, heads=2, batch=3, window=6, steps=3, eval_every=2, sample_every=2)
    end = fit(config, corpus=text, quiet=True)
    print(model, *(float(p.numpy().sum()) for p in end.run.model.parameters()))
"""


def test_switched_off_is_not_installed(tmp_path: Path) -> None:
    """Training, validation and sampling come out alike to the bit.

    So CI runs the engine's tests without numba, and switched off only those that tell the two apart.
    """
    cache = str(tmp_path / "k")
    switched_off = run(TRAINED, TINYGRAD_SEQ_CACHE=cache, NUMBA_DISABLE_JIT="1").stdout
    hidden = run("import sys; sys.modules['numba'] = None\n" + TRAINED, TINYGRAD_SEQ_CACHE=cache).stdout
    assert switched_off == hidden
    assert switched_off.count("\n") == 3


BROKEN = {
    "hidden": "import sys; sys.modules['numba'] = None",
    "a stand-in": "import sys, types; sys.modules['numba'] = types.ModuleType('numba')",
    "an import hook that raises": (
        "import sys\nclass Hook:\n    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'numba': raise OSError('no')\nsys.meta_path.insert(0, Hook())"
    ),
    "llvmlite that does not load": "import sys; sys.modules['llvmlite'] = None",
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_numba_is_no_numba(tmp_path: Path, name: str) -> None:
    """Whatever its import does, the composition runs and nothing is built."""
    done = run(BROKEN[name] + FUSED, TINYGRAD_SEQ_CACHE=str(tmp_path / "k"))
    assert abs(float(done.stdout.split()[0])) < 1e-6
    assert done.stderr == ""
    assert not (tmp_path / "k").exists()


def test_a_numba_that_raises_at_import(tmp_path: Path) -> None:
    """Such as one that is too old for this NumPy."""
    (tmp_path / "numba.py").write_text("raise SystemError('built for another NumPy')\n", encoding="utf-8")
    done = run(f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n" + SCRIPT)
    assert (done.stdout, done.stderr) == ("composed False\n", "")


@pytest.mark.parametrize(("value", "off"), [("1", True), ("0", False), ("", False), (" 1 ", True)])
def test_switched_off_tells_why(monkeypatch: pytest.MonkeyPatch, value: str, off: bool) -> None:
    """By the variable first, then by whether numba can be found."""
    monkeypatch.setenv("NUMBA_DISABLE_JIT", value)
    monkeypatch.setitem(sys.modules, "numba", None)
    assert jit.switched_off() == ("NUMBA_DISABLE_JIT is set" if off else "numba is not installed")


def test_a_function_without_its_source_is_not_built(monkeypatch: pytest.MonkeyPatch) -> None:
    """A package frozen without sources still runs."""

    def gone(_: object) -> str:
        raise OSError("could not get source code")

    monkeypatch.setattr("inspect.getsource", gone)
    assert jit.build_function(doubled) is None


@COMPILER
def test_numba_may_keep_its_files_elsewhere(tmp_path: Path) -> None:
    """NUMBA_CACHE_DIR moves them; a damaged one is found there."""
    variables = {"TINYGRAD_SEQ_CACHE": str(tmp_path / "k"), "NUMBA_CACHE_DIR": str(tmp_path / "n")}
    run(**variables)
    (kept,) = (tmp_path / "n").rglob("*.nbc")
    kept.write_bytes(b"")
    assert run(**variables).stdout == "0.0 2.0 4.0 False\n"
    assert kept.stat().st_size > 0
    assert run(**variables).stderr == ""


@COMPILER
def test_every_set_of_dtypes_is_compiled_alike(folder: Path) -> None:
    """Whichever comes first: the same instructions for f32 after f64 as for f32 alone, and the other way round."""

    def instructions(kernel: Any, dtype: str) -> list[str]:
        found = next(text for key, text in kernel.run.inspect_asm().items() if dtype in str(key[0]))
        words = [line.split()[0] for line in found.splitlines() if line.startswith("\t")]
        return [word for word in words if not word.startswith(".")]

    source = SOURCE.replace("x[i] * 2.0", "np.exp(x[i]) * x[i]").replace(
        "def kernel", "import numpy as np\n\n\ndef kernel"
    )
    made = {}
    for order in (("float32", "float64"), ("float64", "float32")):
        kernel = jit.build(f"{source}\n# {order}\n", vectors=4)
        for dtype in order:
            x = np.linspace(0.0, 1.0, 64, dtype=dtype)
            kernel(x, np.empty_like(x))
        made[order] = {dtype: instructions(kernel, dtype) for dtype in order}
    one, other = made.values()
    assert one == other
    assert len(one["float32"]) > 20
