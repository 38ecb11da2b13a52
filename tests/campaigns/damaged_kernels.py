"""Single bytes of cached kernels changed at random: no crash, no wrong number, and the cache mends itself.

Kernels of several kinds are built into a folder of their own. Then, again and again, one byte of one of its files is
changed and a new process computes with them. Its results must be those of the sound cache, to the bit.

    python tests/campaigns/damaged_kernels.py --runs 300 --seed 0
"""

from __future__ import annotations

import argparse
import collections
import os
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COMPUTE = """
import hashlib
import numpy as np
import tinygrad_seq as tgs
from tinygrad_seq import functional as F

x = tgs.tensor(np.linspace(-3, 3, 60, dtype="f4").reshape(5, 12), requires_grad=True)
loss = F.softmax(x).sum() + F.gelu(x).sum() + (F.layer_norm(x, 12) ** 3).sum()
loss.backward()
print(hashlib.sha256(np.append(x.grad.numpy().ravel(), loss.item()).tobytes()).hexdigest())
"""


def computed(folder: Path) -> str:
    """What a new process finds with the kernels of a folder; or how it died."""
    environment = {**os.environ, "TINYGRAD_SEQ_CACHE": str(folder), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", COMPUTE]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    if done.returncode:
        return f"died with {done.returncode}: {done.stderr.strip().splitlines()[-1:]}"
    return done.stdout.strip()


def damaged(folder: Path, rng: random.Random) -> str:
    """One byte of one file changed; tells which."""
    path = rng.choice(sorted(p for p in folder.rglob("k_*") if p.stat().st_size))
    data = bytearray(path.read_bytes())
    at = rng.randrange(len(data))
    data[at] ^= rng.randrange(1, 256)
    path.write_bytes(data)
    return f"byte {at} of {len(data)} of {path.name}"


def campaign(runs: int, seed: int) -> list[str]:
    """The damages that did harm, a line each."""
    rng, harm = random.Random(seed), []
    endings: collections.Counter[str] = collections.Counter()
    with tempfile.TemporaryDirectory() as name:
        sound, folder = Path(name, "sound"), Path(name, "kernels")
        right = computed(sound)
        if "died" in right or computed(sound) != right:
            return [f"the sound cache: {right}"]
        for run in range(runs):
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(sound, folder)
            folder.chmod(0o700)
            what = damaged(folder, rng)
            endings[what.rpartition(".")[2]] += 1
            found = computed(folder)
            if found != right:
                harm.append(f"run {run}, {what}: {found}")
                print(harm[-1], flush=True)
    print(
        f"{runs} damages ({', '.join(f'{n} {end}' for end, n in sorted(endings.items()))}), {len(harm)} did harm"
    )
    return harm


def main(words: list[str] | None = None) -> int:
    """The exit code: 0 where no damage did harm."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(words)
    return 1 if campaign(args.runs, args.seed) else 0


if __name__ == "__main__":
    sys.exit(main())
