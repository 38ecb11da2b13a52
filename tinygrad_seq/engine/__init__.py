"""The autodiff engine: primitives, the graph they record, the `Tensor`, and the backward pass."""
