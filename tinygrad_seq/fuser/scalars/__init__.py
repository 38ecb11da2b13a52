"""Scalar functions that kernels call by name; numba compiles them into each kernel."""
