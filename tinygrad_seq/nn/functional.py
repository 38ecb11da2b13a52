"""`tinygrad_seq.functional` where PyTorch's users look for it: `import tinygrad_seq.nn.functional as F`."""

from typing import TYPE_CHECKING

from tinygrad_seq import functional
from tinygrad_seq.functional import *  # noqa: F403

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        return getattr(functional, name)
