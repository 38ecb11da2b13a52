"""Settings of another kind than is meant: each is refused by an error of ours that says what was expected."""

import numpy as np
import pytest

import tinygrad_seq as tgs
from tinygrad_seq import functional as F

X = tgs.tensor([[0.0, 1.0], [2.0, 3.0]])
ARRAY, RAGGED = np.zeros(3), [[1], [2, 3]]


@pytest.mark.parametrize(
    ("call", "kind"),
    [
        (lambda: F.softmax(X, ARRAY), tgs.RangeError),
        (lambda: F.log_softmax(X, ARRAY), tgs.RangeError),
        (lambda: F.logsumexp(X, ARRAY), tgs.RangeError),
        (lambda: F.logsumexp(X, 0, ARRAY), tgs.DTypeError),
        (lambda: F.gelu(X, ARRAY), tgs.ArgumentError),
        (lambda: F.mse_loss(X, X, reduction=ARRAY), tgs.ArgumentError),
        (lambda: F.cross_entropy(X, [0, 1], reduction=ARRAY), tgs.ArgumentError),
        (lambda: X.norm(ARRAY), tgs.ArgumentError),
        (lambda: tgs.zeros_like(X, requires_grad=ARRAY), tgs.DTypeError),
        (lambda: tgs.tensor([1.0], requires_grad=ARRAY), tgs.DTypeError),
        (lambda: X.clone().requires_grad_(ARRAY), tgs.DTypeError),
        (lambda: X.take(RAGGED), tgs.DTypeError),
        (lambda: X.index_select(0, RAGGED), tgs.DTypeError),
        (lambda: X[RAGGED], tgs.DTypeError),
        (lambda: X.clone().fill_(RAGGED), tgs.ShapeError),
        (lambda: F.embedding([0], X, object()), tgs.DTypeError),
        (lambda: X.repeat_interleave(np.array(None)), tgs.DTypeError),
        (lambda: X.repeat_interleave(np.array([1j])), tgs.DTypeError),
        (lambda: X.to("a"), tgs.DTypeError),
        (lambda: X.astype("a5"), tgs.DTypeError),
        (lambda: (X > 0).round(100), tgs.DTypeError),
    ],
)
def test_an_odd_setting_meets_an_error_of_ours(call, kind):
    with pytest.raises(kind, match="expected"):
        call()
