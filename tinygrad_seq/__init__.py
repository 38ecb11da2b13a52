"""tinygrad_seq."""
from tinygrad_seq.autodiff import *
from tinygrad_seq.tensor import Tensor
from tinygrad_seq.creation import *
from tinygrad_seq.shapes import concat, stack
from tinygrad_seq.nodes import no_grad
