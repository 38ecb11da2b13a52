"""Every function within its stated bounds, in units in the last place: the short form of `campaigns/ulp_table.py`."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("mpmath")

from tests.campaigns.ulp_reasons import REASONS
from tests.campaigns.ulp_table import DTYPES, EVERY, PAGE, WAYS, measured, units
from tinygrad_seq import Tensor
from tinygrad_seq import functional as F

pytestmark = pytest.mark.laws

PYTHONS = {  # what classes have that has nothing to do with numbers
    "__annotations__", "__getattr__", "__module__", "__slots__", "__weakref__", "__static_attributes__",
    "__firstlineno__", "__annotate_func__", "__annotations_cache__",
}  # fmt: skip
OF_ALL_CLASSES = {"__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__"}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("line", EVERY, ids=lambda line: line.name)
def test_errors_are_within_their_bounds(line, dtype, way):
    """Value and slope against 60 digits, on a thin sweep of the whole range."""
    value, slope = measured(line, dtype, way, 60)
    assert (value <= line.value, slope <= line.slope) == (True, True), (value, slope)


def test_what_is_no_number_or_overflows_is_no_small_error():
    """NaN is infinitely far off; an infinity stands for the power of two behind the largest number."""
    assert units(np.float32("nan"), 1, 0, "float32") == np.inf
    assert units(np.float32("inf"), 1, 0, "float32") > 1e38
    assert units(np.float32(3.4028235e38), 2.0**128, 0, "float32") == 0.5
    assert units(np.float32(1.0), 1 + 2.0**-23, 0, "float32") == 1.0
    assert units(np.float32(0.0), 2.0**-149, 0, "float32") == 1.0


def surface() -> set[str]:
    """Every public function of `functional`, every public method and every operator of Tensor."""
    operators = {name for name in dir(Tensor) if name.startswith("__")} - set(dir(object)) - PYTHONS
    return {
        *F.__all__,
        *(n for n in dir(Tensor) if not n.startswith("_") and hasattr(Tensor, n)),
        *operators,
        *OF_ALL_CLASSES,
    }


def test_every_function_and_method_has_a_line_or_a_reason_for_having_none():
    """One of the two, and no name that is gone."""
    lines = {name for line in EVERY for name in line.covers}
    excused = [name for names in REASONS.values() for name in names.split()]
    assert len(excused) == len(set(excused))
    assert lines & set(excused) == set()
    assert sorted(lines | set(excused)) == sorted(surface())


def test_the_page_has_every_function_with_its_bounds():
    """As many rows, in the same order, and no worst case beyond its bound."""
    rows = PAGE.read_text(encoding="utf-8").partition("<!-- table -->\n")[2].splitlines()[2:]
    assert len(rows) == len(EVERY)
    for row, line in zip(rows, EVERY, strict=True):
        name, bounds, *cells, why = (cell.strip() for cell in row.strip("|").split(" | "))
        assert (name, bounds, why) == (line.name, f"{line.value:g}, {line.slope:g}", line.why)
        assert len(cells) == len(DTYPES) * len(WAYS)
        for cell in cells:
            value, slope = map(float, cell.split(","))
            assert (value <= line.value, slope <= line.slope) == (True, True), row
