"""From a tape to numba kernels: trace, schedule, rematerialization, code generation, launch, and the scalar maths."""
