"""How long `import tinygrad_seq` and `tgs --help` take, beside Python alone and `import numpy`.

python benchmarks/import_time.py
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

COMMANDS = {
    "python alone": ["-c", "pass"],
    "import numpy": ["-c", "import numpy"],
    "import tinygrad_seq": ["-c", "import sys, tinygrad_seq; assert 'numba' not in sys.modules"],
    "tgs --help": ["-m", "tinygrad_seq", "--help"],
}


def main() -> None:
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for repeat in range(12):
        for name, arguments in COMMANDS.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
            if repeat >= 2:
                times[name].append(time.perf_counter() - start)
    for name, column in times.items():
        print(f"{name:22s} {statistics.median(column):6.3f} s  ({min(column):.3f} to {max(column):.3f})")


if __name__ == "__main__":
    main()
