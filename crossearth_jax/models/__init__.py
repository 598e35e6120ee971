"""Flax NNX modules of the method, one component a file (method.md sections 1 to 7)."""
