"""Weights between CrossEarth's PyTorch checkpoints and this project, both ways."""
