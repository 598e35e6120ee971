"""Tokens of scenes without labels."""

import numpy as np
import pytest
from rasters import write

from crossearth_jax.commands.umap_scenes import sample_scene
from crossearth_jax.features.extractor import Extractor
from crossearth_jax.features.sample import Bounds
from crossearth_jax.pixels.labels import IGNORE
from crossearth_jax.pixels.normalise import normalise
from crossearth_jax.predict.scene import Reading
from crossearth_jax.scoring.windows import Windows

pytest.importorskip("rasterio", reason="needs the extra geo")
TOKEN = 8
EXTRACT = Extractor(
    lambda w: w.reshape(-1, 1, 1, 4, TOKEN, 4, TOKEN, 3).mean((4, 6)),
    taps=(3,),
    variants=(True,),
    token=TOKEN,
    windows=Windows(crop=32, stride=20, patch=8, batch=3),
)


def scene(folder, value=90):
    values = np.full((3, 70, 50), value, np.uint8)
    values[:, :20] = 0
    return write(folder / "far.tif", values, nodata=0)


def test_tokens_without_data_are_left_out(tmp_path):
    found = sample_scene(EXTRACT, scene(tmp_path), Reading(), Bounds(per_class=30))
    assert found.domain == "far" and found.features.shape == (30, 3)
    assert (found.classes == IGNORE).all()
    colour = normalise(np.full((1, 1, 3), 90, np.uint8))[0, 0]
    np.testing.assert_allclose(found.features, np.tile(colour, (30, 1)), atol=1e-5)
    again = sample_scene(EXTRACT, tmp_path / "far.tif", Reading(), Bounds(per_class=30))
    assert np.array_equal(found.features, again.features)


def test_a_scene_without_data_is_one_line(tmp_path):
    with pytest.raises(ValueError, match="no valid pixel"):
        sample_scene(EXTRACT, scene(tmp_path, value=0), Reading(), Bounds())
