"""Between the library and the machine: compiler, cache of kernels, array routines, files. It imports no `Tensor`."""
