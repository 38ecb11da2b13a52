"""Each test draws PyTorch's weights from the start of its stream: what others drew before changes nothing."""

import pytest


@pytest.fixture(autouse=True)
def _drawn_anew() -> None:
    pytest.importorskip("torch").manual_seed(0)
