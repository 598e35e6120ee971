"""A JAX function as an ONNX graph: traced, flattened, folded, written."""
