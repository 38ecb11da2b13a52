"""Scalar maths that kernels call by name: what numba compiles into each of them."""
