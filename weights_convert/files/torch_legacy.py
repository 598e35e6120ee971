"""Reads checkpoints of PyTorch before 1.6 through PyTorch's own restricted reader."""

from pathlib import Path

import numpy as np

from crossearth_jax.system.extras import install_command
from weights_convert.files.lazy_tensor import LazyTensor
from weights_convert.files.torch_zip import DTYPES

_SAFE_SINCE = (2, 6)  # before, weights_only=True could be made to run code


def read_torch_legacy(path: Path) -> object:
    """Reads a file that is one long pickle instead of a zip archive.

    Args:
      path: the checkpoint; all of it is held in memory.

    Returns:
      PyTorch's containers, with a `LazyTensor` for every tensor.

    Raises:
      ValueError: no PyTorch (or one too old to be safe) is installed, PyTorch
        refuses the file, or a tensor is sparse, quantised or repeats elements.
    """
    try:
        import torch
    except ImportError as error:
        raise ValueError(
            f"{path}: got a file that is not a zip archive; reading checkpoints of "
            f"PyTorch before 1.6 needs PyTorch: {install_command('convert')}"
        ) from error
    if tuple(map(int, torch.__version__.split(".")[:2])) < _SAFE_SINCE:
        raise ValueError(
            f"{path}: PyTorch {torch.__version__} is too old: "
            f"{install_command('convert')}"
        )
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        return _lazy(content, torch.Tensor)
    except Exception as error:  # torch.load raises whatever a damaged file leads to
        raise ValueError(f"{path}: PyTorch refuses the file: {error}") from error


def _lazy(value: object, tensor: type) -> object:
    if isinstance(value, dict):
        return {name: _lazy(item, tensor) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_lazy(item, tensor) for item in value)
    return _tensor(value) if isinstance(value, tensor) else value


def _tensor(value: object) -> LazyTensor:
    """Wraps a `torch.Tensor`, which shares its memory until it is read."""
    name = str(value.dtype).removeprefix("torch.")
    if name not in DTYPES or str(value.layout) != "torch.strided":
        raise ValueError(f"got a {value.layout} tensor of {value.dtype}")
    if value.numel() * value.element_size() > value.untyped_storage().nbytes():
        raise ValueError(f"got a tensor of shape {tuple(value.shape)} that repeats")

    def load() -> np.ndarray:
        import torch

        plain = value.detach().resolve_conj().resolve_neg().contiguous()
        raw = plain.reshape(-1).view(torch.uint8).numpy()
        return raw.view(DTYPES[name]).reshape(tuple(value.shape))

    return LazyTensor(tuple(value.shape), DTYPES[name], load)
