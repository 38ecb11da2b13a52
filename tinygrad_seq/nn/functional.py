"""`tinygrad_seq.functional` where PyTorch's users look for it: `import tinygrad_seq.nn.functional as F`."""

from tinygrad_seq.functional import *  # noqa: F403
