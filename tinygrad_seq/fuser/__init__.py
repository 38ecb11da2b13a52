"""From a tape to numba kernels: the scalar maths that kernels call, and what emits, builds and keeps them."""
