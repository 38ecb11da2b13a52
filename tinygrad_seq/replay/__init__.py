"""A function's step recorded once and run again on arrays, without Tensors and without gradients."""
