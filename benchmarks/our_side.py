"""Our side of a comparison: the run's own compiled functions on random weights.

Values of weights change no time; they are such that every part counts when both sides'
results are compared.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import PyTree
from ml_collections import ConfigDict
from safetensors.numpy import save_file

from crossearth_jax import build
from crossearth_jax.build import initial_state
from crossearth_jax.build_data import Data
from crossearth_jax.config import default
from crossearth_jax.data.classes import ClassSet
from crossearth_jax.data.known_classes import CASID
from crossearth_jax.data.pipeline import Batch
from crossearth_jax.data.synthetic.source import SyntheticSource
from crossearth_jax.losses.segmentation import draw_points
from crossearth_jax.models.parameters import combine, dotted
from crossearth_jax.models.precision import arithmetic_of
from crossearth_jax.pixels.normalise import normalise
from crossearth_jax.predict import Predictor
from crossearth_jax.run.setup import TrainingSetup, make_step
from crossearth_jax.run_settings import read_settings
from crossearth_jax.scoring.score_fn import make_score_fn
from crossearth_jax.system import sharding
from crossearth_jax.system.compiling import set_up_compiler
from crossearth_jax.train_step import step_key
from weights_convert.architecture import backbone_shapes

BACKBONE = "backbone.safetensors"
WEIGHTS, BATCH, DRAWS = "weights.npz", "batch.npz", "draws.npz"
MATMUL = 4096  # side of the matrices whose product is the ceiling
SCENE = 2.3  # side of the mapped scene, in crops
NO_DATA = Data(CASID, SyntheticSource("sub", 1, seed=0), ())  # batches are drawn here


def benchmark_config(
    variant: str, crop: int, *, batch: int = 1, queries: int = 100, precision: str
) -> ConfigDict:
    """The paper's configuration, with every part at work from the first step."""
    config = default()
    config.backbone.variant, config.precision = variant, precision
    config.data.crop, config.train.batch_size = crop, batch
    config.rein.num_tokens = queries
    config.style.probability = 0.0  # the branch of one step in ten
    config.injector.gamma_init = 0.1  # 0 would hide what GSE and Injectors do
    return config


def random_run(config: ConfigDict, classes: int, folder: Path) -> TrainingSetup:
    """A run without data, built as every run is, on random weights of the backbone.

    They are written to the folder, or taken from there.
    """
    config.backbone.weights = str(folder / BACKBONE)
    if not (folder / BACKBONE).exists():
        save_file(random_backbone(config, classes), folder / BACKBONE)
    network = build.build_network(config, classes)
    schedule, mesh = build.build_schedule(config), sharding.make_mesh()
    optimiser = build.build_optimiser(config, network, schedule)
    state = initial_state(network, optimiser, mesh)
    settings = read_settings(config)
    return TrainingSetup(
        settings, mesh, NO_DATA, None, network, schedule, optimiser, state
    )


def random_backbone(config: ConfigDict, classes: int) -> dict[str, np.ndarray]:
    """Arrays under dotted paths, small but for gains."""
    shapes = backbone_shapes(build.model_config(config, classes).backbone)
    rng = np.random.default_rng(0)

    def draw(path: str, shape: tuple[int, ...]) -> np.ndarray:
        name = path.rsplit(".", 1)[-1]
        mean = 1.0 if name == "scale" else 0.1 if name in ("ls1", "ls2") else 0.0
        return mean + 0.02 * rng.standard_normal(shape, np.float32)

    return {path: draw(path, shape) for path, shape in shapes.items()}


def random_batch(config: ConfigDict, classes: int) -> Batch:
    """Noise, labelled in blocks of a sixteenth of the crop."""
    rng, crop = np.random.default_rng(0), config.data.crop
    image = rng.integers(0, 256, (config.train.batch_size, crop, crop, 3), np.uint8)
    cells = -(-crop // 16)
    label = rng.integers(0, classes, (len(image), cells, cells), np.uint8)
    label = label.repeat(16, 1).repeat(16, 2)[:, :crop, :crop]
    return Batch(image, np.ascontiguousarray(label))


def random_scene(config: ConfigDict) -> np.ndarray:
    """[H, W, 3] of noise that needs nine windows."""
    side = round(SCENE * config.data.crop)
    return np.random.default_rng(1).integers(0, 256, (side, side, 3), np.uint8)


def first_draws(
    config: ConfigDict, classes: int, batch: Batch, key: jax.Array
) -> dict[str, np.ndarray]:
    """Random numbers of a run's first step, fields of `peer_losses.Draws`."""
    objective = read_settings(config).objective
    shape = config.decoder.decoder_layers + 1, len(batch.image), classes

    @jax.jit
    def draw(key: jax.Array, image: jax.Array) -> dict[str, jax.Array]:
        _, mask_key, points_key = jax.random.split(step_key(key, 0), 3)
        blank = jnp.full(image.shape[1:], jnp.nan)
        hidden = objective.masked.image(mask_key, normalise(image), blank)
        points = draw_points(points_key, objective.segmentation, shape)
        return {"altered": jnp.isnan(hidden).any(-1), **points._asdict()}

    return jax.device_get(draw(key, batch.image))


class OurSide:
    """Compiled functions by case, and what the other side needs to do the same.

    Leaves weights, batch and the first step's random numbers in a folder.
    """

    def __init__(self, config: ConfigDict, classes: int, folder: Path) -> None:
        set_up_compiler()
        self.config, self.classes = config, classes
        self.run = random_run(config, classes, folder)
        self.state = self.run.state
        self.batch = random_batch(config, classes)
        self.key = jax.random.key(0)
        self._functions: dict[str, Callable[..., Any]] = {}
        if not (folder / WEIGHTS).exists():
            self._leave(folder)
        self.cases = {
            "inference": self._inference,
            "backbone": self._backbone,
            "step": self._step,
            "scene": self._scene,
            "matmul": self._matmul,
        }

    def params(self) -> PyTree:
        """All parameters as nested dicts."""
        return combine(self.state.params, self.run.network.frozen)

    def _leave(self, folder: Path) -> None:
        """What the other side needs."""
        draws = first_draws(self.config, self.classes, self.batch, self.key)
        weights = dotted(self.params())
        np.savez(folder / BATCH, image=self.batch.image, label=self.batch.label)
        np.savez(folder / DRAWS, **draws)
        np.savez(folder / WEIGHTS, **{k: np.float32(v) for k, v in weights.items()})

    def peak_on_device(self) -> int | None:
        """Bytes since the start of the process; None on a CPU."""
        stats = jax.devices()[0].memory_stats() or {}
        return stats.get("peak_bytes_in_use")

    def _once(self, name: str, make: Callable[[], Callable[..., Any]]) -> Callable:
        if name not in self._functions:
            self._functions[name] = make()
        return self._functions[name]

    def _score_fn(self) -> Callable[..., jax.Array]:
        return self._once(
            "scores",
            lambda: make_score_fn(
                self.run.network.graph, self.state.params, self.run.network.frozen
            ),
        )

    def _inference(self) -> np.ndarray:
        """Scores [1, H, W, K] of one normalised window."""
        return np.asarray(self._score_fn()(np.asarray(normalise(self.batch.image[:1]))))

    def _backbone(self) -> np.ndarray:
        """The last tap [1, h, w, C] of one window."""
        graph = self.run.network.graph

        def make() -> Callable[..., jax.Array]:
            return jax.jit(lambda params, x: nnx.merge(graph, params).taps(x)[-1])

        taps = self._once("taps", make)
        params = self._once(
            "params", lambda: sharding.replicate(self.params(), self.run.mesh)
        )
        return np.asarray(taps(params, normalise(self.batch.image[:1])), np.float32)

    def _step(self) -> dict[str, float]:
        """One training step; losses and the gradient's norm."""
        step_fn, frozen = self._once("step", lambda: make_step(self.run))
        batch = sharding.shard_batch(self.batch, len(self.batch.image), self.run.mesh)
        key = sharding.replicate(self.key, self.run.mesh)
        self.state, metrics = step_fn(self.state, frozen, batch, key)
        found = jax.device_get(metrics)
        return {k: float(found[k]) for k in ("loss", "seg", "mim", "gradient")}

    def _scene(self) -> np.ndarray:
        """Blended scores of a scene of nine windows."""
        names = tuple(f"class {k}" for k in range(self.classes))
        colours = tuple((k, k, k) for k in range(self.classes))
        windows = read_settings(self.config).windows.changed(batch=1)
        predictor = Predictor(self._score_fn(), ClassSet(names, colours), windows)
        return predictor.scores(random_scene(self.config))

    def _matmul(self) -> None:
        """Product of two square matrices as the layers compute it."""
        layers = arithmetic_of(self.config.precision)
        matrix = self._once("matrix", lambda: jnp.ones((MATMUL, MATMUL), layers.dtype))
        product = self._once("product", lambda: jax.jit(lambda a: layers.matmul(a, a)))
        jax.block_until_ready(product(matrix))
