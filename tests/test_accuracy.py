"""Every function within its stated bounds, in units in the last place: the short form of `campaigns/ulp_table.py`."""

from __future__ import annotations

import pytest

pytest.importorskip("mpmath")

from tests.campaigns.ulp_table import DTYPES, LINES, PAGE, WAYS, measured


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("line", LINES, ids=lambda line: line.name)
def test_errors_are_within_their_bounds(line, dtype, way):
    """Value and slope against 60 digits, on a thin sweep of the whole range."""
    value, slope = measured(line, dtype, way, 60)
    assert (value <= line.value, slope <= line.slope) == (True, True), (value, slope)


def test_the_page_has_every_function_with_its_bounds():
    """As many rows, in the same order, and no worst case beyond its bound."""
    rows = PAGE.read_text(encoding="utf-8").partition("<!-- table -->\n")[2].splitlines()[2:]
    assert len(rows) == len(LINES)
    for row, line in zip(rows, LINES, strict=True):
        name, bounds, *cells = (cell.strip() for cell in row.strip("|").split("|"))
        assert (name.removesuffix(" †"), bounds) == (line.name, f"{line.value:g}, {line.slope:g}")
        for cell in cells:
            value, slope = map(float, cell.split(","))
            assert (value <= line.value, slope <= line.slope) == (True, True), row
