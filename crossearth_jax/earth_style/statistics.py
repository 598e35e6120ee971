"""Earth statistics: mean and covariance of p_s over field imagery (paper Eq. 2).

They are computed once, off line (`crossearth style-statistics`), and kept in one
small file, so that a style embedding ε'_o can be drawn in training without running
p_s on field imagery.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Float32, PRNGKeyArray, UInt8

from crossearth_jax.earth_style.pool import (
    square,
)
from crossearth_jax.earth_style.predictor import EMBEDDING, MIN_SIDE, StylePredictor
from crossearth_jax.system.escape import quoted
from crossearth_jax.system.read_npz import read_npz
from crossearth_jax.system.whole_file import whole_file

Image = UInt8[np.ndarray, "h w 3"]


@dataclass(frozen=True)
class EarthStatistics:
    """The distribution of Earth styles (method §6).

    Attributes:
      mean: mean embedding.
      sqrt: U·√S from the SVD of the covariance, so that sqrt·sqrtᵀ is the covariance.
    """

    mean: Float32[np.ndarray, "100"]
    sqrt: Float32[np.ndarray, "100 100"]

    @classmethod
    def from_covariance(
        cls,
        mean: Float[np.ndarray, "100"],
        covariance: Float[np.ndarray, "100 100"],
    ) -> "EarthStatistics":
        """Factorises a covariance.

        Raises:
          ValueError: if it is not finite or not symmetric.
        """
        scale = np.abs(covariance).max()
        asymmetry = np.abs(covariance - covariance.T).max()
        if not (np.isfinite(scale) and asymmetry <= 1e-5 * scale):
            raise ValueError(
                f"got a covariance with entries up to {scale} and asymmetry "
                f"{asymmetry}, expected a finite symmetric matrix: compute it again"
            )
        u, s, _ = np.linalg.svd(covariance.astype(np.float64))
        return cls(np.asarray(mean, np.float32), (u * np.sqrt(s)).astype(np.float32))

    def sample(self, key: PRNGKeyArray, batch: int) -> Float32[Array, "B 100"]:
        """Draws Earth-style embeddings ε'_o, see `sample_embeddings`."""
        return sample_embeddings(key, self.mean, self.sqrt, batch)

    def save(self, path: str | Path) -> None:
        """Writes one .npz in one step: a broken write leaves the old file."""
        with whole_file(path) as place, place.open("wb") as file:
            np.savez(file, mean=self.mean, sqrt=self.sqrt)

    @classmethod
    def load(cls, path: str | Path) -> "EarthStatistics":
        """Reads what `save` wrote.

        Raises:
          FileNotFoundError: if there is no such file.
          ValueError: if it holds something else.
        """
        if not Path(path).is_file():
            raise FileNotFoundError(
                f"got no file at {path}, expected Earth statistics: make them with "
                "`crossearth style-statistics IMAGES_DIR --weights … --out …`"
            )
        try:
            held = read_npz(path)
        except ValueError as error:
            raise ValueError(
                f"got a damaged {path} ({error}): make it with "
                "`crossearth style-statistics`"
            ) from error
        shapes = {name: array.shape for name, array in held.items()}
        if shapes != {"mean": (EMBEDDING,), "sqrt": (EMBEDDING, EMBEDDING)}:
            raise ValueError(
                f"got {path} with {quoted(shapes)}, expected mean ({EMBEDDING},) and "
                f"sqrt ({EMBEDDING}, {EMBEDDING}): make it with "
                "`crossearth style-statistics`"
            )
        mean, sqrt = held["mean"], held["sqrt"]
        for array in (mean, sqrt):
            if array.dtype.kind != "f" or not np.isfinite(array).all():
                raise ValueError(
                    f"got {path} with numbers that are not finite, or none: make it "
                    "with `crossearth style-statistics`"
                )
        return cls(mean.astype(np.float32), sqrt.astype(np.float32))


def sample_embeddings(
    key: PRNGKeyArray,
    mean: Float[Array | np.ndarray, "100"],
    sqrt: Float[Array | np.ndarray, "100 100"],
    batch: int,
) -> Float32[Array, "B 100"]:
    """Draws ε'_o = mean + U·√S·z with z ~ N(0, I) (Eq. 2 read as its distribution)."""
    z = jax.random.normal(key, (batch, EMBEDDING))
    return embed_noise(z, mean, sqrt)


def embed_noise(
    z: Float[Array | np.ndarray, "B 100"],
    mean: Float[Array | np.ndarray, "100"],
    sqrt: Float[Array | np.ndarray, "100 100"],
) -> Float32[Array, "B 100"]:
    """Turns standard normal draws into embeddings; `sample_embeddings` draws them."""
    spread_out = jnp.matmul(z, sqrt.T, precision=jax.lax.Precision.HIGHEST)
    return jnp.asarray(mean, jnp.float32) + spread_out.astype(jnp.float32)


def earth_statistics(
    images: Iterable[Image],
    predictor: StylePredictor,
    *,
    size: int = 512,
    batch: int = 8,
) -> EarthStatistics:
    """Mean and covariance of p_s over images, in one pass and float64.

    Args:
      images: field imagery, RGB, read lazily; each is scaled to `size` on its shorter
        side and cropped at the centre.
      predictor: p_s.
      size: pixels; the training crop gives styles of the same scale.
      batch: images in one call of p_s.

    Raises:
      ValueError: for fewer than two images, or a size that p_s cannot take.
    """
    if size < MIN_SIDE:
        raise ValueError(
            f"got size {size}, expected at least {MIN_SIDE}: the style predictor "
            "halves the image three times"
        )
    predict = _jit_predict(predictor)
    count, mean = 0, np.zeros(EMBEDDING)
    scatter = np.zeros((EMBEDDING, EMBEDDING))  # Σ (e - mean)(e - mean)ᵀ
    for chunk in _chunks((square(image, size) for image in images), batch):
        embedding = _padded(predict, chunk, batch)  # [b, 100] float64
        chunk_mean = embedding.mean(axis=0)
        delta, total = chunk_mean - mean, count + len(embedding)
        centred = embedding - chunk_mean
        scatter += centred.T @ centred
        scatter += np.outer(delta, delta) * (count * len(embedding) / total)
        mean += delta * (len(embedding) / total)
        count = total
    if count < 2:
        raise ValueError(
            f"got {count} images, expected at least 2 for a covariance: give a folder "
            "with more field imagery"
        )
    return EarthStatistics.from_covariance(mean, scatter / (count - 1))


def _jit_predict(
    predictor: StylePredictor,
) -> Callable[[np.ndarray], Float32[Array, "B 100"]]:
    graphdef, state = nnx.split(predictor)

    @jax.jit
    def predict(state: nnx.State, images: Array) -> Array:
        return nnx.merge(graphdef, state)(images.astype(jnp.float32) / 255)

    return lambda images: predict(state, images)


def _padded(
    predict: Callable[[np.ndarray], Array], chunk: np.ndarray, batch: int
) -> Float[np.ndarray, "b 100"]:
    """Fills the last batch up, so that p_s is compiled for one shape only."""
    fill = np.zeros((batch - len(chunk), *chunk.shape[1:]), chunk.dtype)
    embedding = predict(np.concatenate([chunk, fill]))
    return np.asarray(embedding, np.float64)[: len(chunk)]


def _chunks(images: Iterable[Image], batch: int) -> Iterator[np.ndarray]:
    chunk = []
    for image in images:
        chunk.append(image)
        if len(chunk) == batch:
            yield np.stack(chunk)
            chunk = []
    if chunk:
        yield np.stack(chunk)
