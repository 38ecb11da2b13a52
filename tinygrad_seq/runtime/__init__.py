"""What stands between the library and the machine: compiling, kept kernels, arrays, files. It knows no tensors."""
