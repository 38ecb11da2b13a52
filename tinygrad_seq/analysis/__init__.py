"""Analysis of models and runs: `probe` measures, `plots` draws, `compare`, `doctor` judges, `report` writes a page.

Each folder is imported when it is first asked for: `tgs.analysis.plots` needs matplotlib, the others do not.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from tinygrad_seq.engine.unknown_names import missing

if TYPE_CHECKING:
    from tinygrad_seq.analysis import compare, doctor, plots, probe, report

__all__ = ["compare", "doctor", "plots", "probe", "report"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return import_module(f"{__name__}.{name}")
    raise missing(f"module {__name__!r}", name, lambda: __all__)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
