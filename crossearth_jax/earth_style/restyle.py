"""Restyling: the paper's p_t with Earth styles, and two stand-ins that need no weights.

All three have one call, `(key, image in [0, 1]) -> image in [0, 1]`, and hold only
`Frozen` arrays, so `graphdef, state = nnx.split(restyle)` is all a jitted step needs.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Float32, PRNGKeyArray, UInt8

from crossearth_jax.earth_style.frozen import Frozen
from crossearth_jax.earth_style.pool import load_pool as load_pool
from crossearth_jax.earth_style.predictor import StylePredictor
from crossearth_jax.earth_style.statistics import EarthStatistics, sample_embeddings
from crossearth_jax.earth_style.transfer import StyleTransfer
from crossearth_jax.earth_style.weights import load_style_networks
from crossearth_jax.pixels.resample import resize_bilinear

Pool = UInt8[np.ndarray, "N h w 3"]


class GhiasiRestyle(nnx.Module):
    """p_t with the embedding α·ε'_o + (1−α)·p_s(X) (method §6).

    Args:
      predictor: p_s.
      transfer: p_t.
      statistics: the distribution of ε'_o.
      alpha: α in [0, 1]; 0.1 is what the authors ran.

    Raises:
      ValueError: for an α outside [0, 1].
    """

    def __init__(
        self,
        predictor: StylePredictor,
        transfer: StyleTransfer,
        statistics: EarthStatistics,
        alpha: float = 0.1,
    ) -> None:
        if not 0 <= alpha <= 1:
            raise ValueError(
                f"got alpha {alpha}, expected a share in [0, 1]: set style.alpha"
            )
        self.predictor, self.transfer = predictor, transfer
        self.mean = Frozen(jnp.asarray(statistics.mean))
        self.sqrt = Frozen(jnp.asarray(statistics.sqrt))
        self.alpha = alpha

    def __call__(
        self, key: PRNGKeyArray, image: Float[Array, "B H W 3"]
    ) -> Float32[Array, "B H W 3"]:
        """Repaints each image with its own draw of ε'_o."""
        earth = sample_embeddings(key, self.mean[...], self.sqrt[...], image.shape[0])
        return self.repaint(image, earth)

    def repaint(
        self, image: Float[Array, "B H W 3"], earth: Float[Array, "B 100"]
    ) -> Float32[Array, "B H W 3"]:
        """Repaints with given Earth styles ε'_o."""
        own = self.predictor(image)  # [B, 100]
        return self.transfer(image, self.alpha * earth + (1 - self.alpha) * own)

    @property
    def description(self) -> str:
        """In words, for the log."""
        return (
            f"p_s and p_t (Ghiasi et al.), alpha {self.alpha} "
            "between the image's own style and a sampled Earth style"
        )


class FourierRestyle(nnx.Module):
    """Stand-in for p_t: the low frequencies take the amplitude of a pool image.

    The phase, which carries the content, stays. For each image a pool image and a
    strength λ ~ U(0, 1) are drawn: amplitude = (1−λ)·own + λ·pool inside the band.

    Args:
      pool: field imagery; resized to the image size in the call.
      beta: half width of the band as a share of the shorter side, in (0, 0.5].

    Raises:
      ValueError: for an empty pool or a band outside (0, 0.5].
    """

    def __init__(self, pool: Pool, beta: float = 0.02) -> None:
        _check_pool(pool)
        if not 0 < beta <= 0.5:
            raise ValueError(
                f"got beta {beta}, expected a share of the spectrum in (0, 0.5]: "
                "0.02 changes colours and broad shading only"
            )
        self.pool = Frozen(jnp.asarray(pool))
        self.beta = beta

    def __call__(
        self, key: PRNGKeyArray, image: Float[Array, "B H W 3"]
    ) -> Float32[Array, "B H W 3"]:
        """Swaps amplitudes, each image with its own draws."""
        batch, height, width, _ = image.shape
        index, strength = _draw(key, batch, len(self.pool[...]))
        style = self.pool[...][index].astype(jnp.float32) / 255
        style = resize_bilinear(style, (height, width))  # [B, H, W, 3]
        spectrum = jnp.fft.rfft2(image.astype(jnp.float32), axes=(1, 2))
        own = jnp.abs(spectrum)
        other = jnp.abs(jnp.fft.rfft2(style, axes=(1, 2)))
        share = strength * _low_band(height, width, self.beta)[None, ..., None]
        amplitude = own + share * (other - own)
        mixed = amplitude * jnp.exp(1j * jnp.angle(spectrum))  # [B, H, W/2+1, 3]
        restyled = jnp.fft.irfft2(mixed, s=(height, width), axes=(1, 2))
        return jnp.clip(restyled, 0, 1)

    @property
    def description(self) -> str:
        """In words, for the log."""
        return _stand_in(
            "low-frequency amplitudes swapped with", len(self.pool[...]), "fourier"
        )


class StatisticsRestyle(nnx.Module):
    """Stand-in for p_t: channel mean and deviation move to those of a pool image.

    For each image a pool image and a strength λ ~ U(0, 1) of the move are drawn.

    Args:
      pool: field imagery, of which only the channel statistics are kept.

    Raises:
      ValueError: for an empty pool.
    """

    def __init__(self, pool: Pool) -> None:
        _check_pool(pool)
        self.mean = Frozen(jnp.asarray(pool.mean(axis=(1, 2)) / 255, jnp.float32))
        self.std = Frozen(jnp.asarray(pool.std(axis=(1, 2)) / 255, jnp.float32))

    def __call__(
        self, key: PRNGKeyArray, image: Float[Array, "B H W 3"]
    ) -> Float32[Array, "B H W 3"]:
        """Moves the statistics, each image with its own draws."""
        image = image.astype(jnp.float32)
        index, strength = _draw(key, image.shape[0], len(self.mean[...]))
        mean = image.mean(axis=(1, 2), keepdims=True)  # [B, 1, 1, 3]
        std = image.std(axis=(1, 2), keepdims=True)
        new_mean = mean + strength * (self.mean[...][index][:, None, None] - mean)
        new_std = std + strength * (self.std[...][index][:, None, None] - std)
        # A channel without contrast has none to stretch: the bound keeps it flat.
        return jnp.clip(
            (image - mean) / jnp.maximum(std, 1e-3) * new_std + new_mean, 0, 1
        )

    @property
    def description(self) -> str:
        """In words, for the log."""
        return _stand_in(
            "channel mean and deviation moved to those of",
            len(self.mean[...]),
            "statistics",
        )


Restyling = GhiasiRestyle | FourierRestyle | StatisticsRestyle


def load_restyle(
    kind: str,
    *,
    weights: str | Path | None,
    statistics: str | Path | None,
    pool: Pool | None,
    alpha: float,
) -> Restyling:
    """Builds the restyling that a config asks for.

    Args:
      kind: config key `style.transfer`.
      weights: converted style networks, for "ghiasi".
      statistics: Earth statistics, for "ghiasi".
      pool: field imagery, for the two stand-ins; see `load_pool`.
      alpha: α of `GhiasiRestyle`.

    Raises:
      FileNotFoundError: if a named file does not exist.
      ValueError: if what the kind needs is not given, or for another kind. No kind
        ever falls back to another one.
    """
    if kind == "ghiasi":
        predictor, transfer = load_style_networks(_given(weights, "weights"))
        earth = EarthStatistics.load(_given(statistics, "statistics"))
        return GhiasiRestyle(predictor, transfer, earth, alpha)
    if kind not in ("fourier", "statistics"):
        raise ValueError(
            f"got style transfer {kind!r}, expected 'ghiasi', 'fourier' or "
            "'statistics': set style.transfer"
        )
    if pool is None:
        raise ValueError(
            f"got style transfer {kind!r} without a pool of images, expected field "
            "imagery: set style.pool to a folder of PNG, JPEG or TIFF images"
        )
    return FourierRestyle(pool) if kind == "fourier" else StatisticsRestyle(pool)


_MAKE = {
    "weights": "make them with `crossearth convert style`",
    "statistics": "make them with `crossearth style-statistics IMAGES_DIR "
    "--weights … --out …`",
}


def _given(path: str | Path | None, what: str) -> str | Path:
    if path is None:
        raise ValueError(
            f"got style transfer 'ghiasi' without {what}, expected a file: "
            f"{_MAKE[what]} and set style.{what}, or set style.transfer to 'fourier' "
            "or 'statistics', the stand-ins that need none"
        )
    return path


def _check_pool(pool: Pool) -> None:
    if len(pool) == 0:
        raise ValueError(
            "got an empty pool, expected at least one field image: check style.pool"
        )


def _draw(
    key: PRNGKeyArray, batch: int, size: int
) -> tuple[Array, Float32[Array, "B 1 1 1"]]:
    """A pool index and a strength for each image."""
    index_key, strength_key = jax.random.split(key)
    index = jax.random.randint(index_key, (batch,), 0, size)
    return index, jax.random.uniform(strength_key, (batch, 1, 1, 1))


def _low_band(height: int, width: int, beta: float) -> np.ndarray:
    """1 on the frequencies up to beta·min(H, W) on both axes, as `rfft2` lays them."""
    limit = int(beta * min(height, width))
    rows = np.abs(np.fft.fftfreq(height, 1 / height)) <= limit
    columns = np.fft.rfftfreq(width, 1 / width) <= limit
    return (rows[:, None] & columns).astype(np.float32)  # [H, W/2+1]


def _stand_in(what: str, size: int, kind: str) -> str:
    return (
        f"STAND-IN for p_t (style.transfer={kind!r}, no style networks "
        f"in use): {what} a pool of {size} images"
    )
