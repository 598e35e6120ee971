"""Where tiles lie: no tile of one split touches one of the other."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossearth_jax.tiles.plan import Ground, Tile, origins, plan_tiles

SIZES = st.integers(40, 900)


def everywhere(corners):
    return np.ones(len(corners), bool)


def ground(height, width, allowed=everywhere):
    return Ground(height, width, allowed)


def plan(scenes, size=64, stride=64, split="blocks", val=0.2, seed=0):
    how = {"size": size, "stride": stride, "split": split, "val": val, "seed": seed}
    return plan_tiles(scenes, **how)


def touch(a, b, size):
    near = abs(a.top - b.top) <= size and abs(a.left - b.left) <= size
    return a.scene == b.scene and near


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(SIZES, SIZES), min_size=1, max_size=3),
    st.integers(16, 64),
    st.floats(0.05, 0.9),
    st.integers(0, 3),
)
def test_no_validation_tile_touches_a_training_tile(sizes, stride, val, seed):
    scenes = [ground(*size) for size in sizes]
    try:
        tiles = plan(scenes, stride=stride, val=val, seed=seed)
    except ValueError as error:
        assert "expected some of both" in str(error)
        return
    train, validation = ([t for t in tiles if t.split == s] for s in ("train", "val"))
    assert train and validation
    assert not [1 for a in train for b in validation if touch(a, b, 64)]
    for tile in tiles:
        height, width = sizes[tile.scene]
        assert 0 <= tile.top <= height - 64 and 0 <= tile.left <= width - 64
    assert len(set(tiles)) == len(tiles)


@pytest.mark.parametrize(("side", "loses"), [(3000, 0), (10_000, 0.01)])
def test_the_gap_costs_next_to_no_tiles(side, loses):
    tiles = plan([ground(side, side)], size=512, stride=512)
    everything = len(origins(side, 512, 512)) ** 2
    assert len(tiles) >= (1 - loses) * everything
    share = sum(tile.split == "val" for tile in tiles) / len(tiles)
    assert 0.15 < share < 0.25


def test_without_a_split_the_whole_lattice_is_for_training():
    tiles = plan([ground(130, 64)], split="none")
    assert tiles == [Tile(0, top, 0, "train") for top in (0, 64, 66)]


def test_whole_scenes_go_to_one_side():
    tiles = plan([ground(128, 128)] * 10, split="scenes")
    splits = {tile.scene: tile.split for tile in tiles}
    assert all(splits[tile.scene] == tile.split for tile in tiles)
    assert sorted(splits.values()).count("val") == 2


def test_seeds_draw_different_blocks():
    scenes = [ground(2000, 2000)]
    assert plan(scenes) == plan(scenes) != plan(scenes, seed=1)


def test_tiles_outside_of_the_area_are_in_no_split():
    def left_half(corners):
        return np.array([left < 500 for _, left in corners], bool)

    tiles = plan([ground(1000, 1000, left_half)])
    assert {t.split for t in tiles} == {"train", "val"}
    assert all(tile.left < 500 for tile in tiles)


@pytest.mark.parametrize(
    ("scenes", "split", "says"),
    [
        ([ground(100, 100)], "blocks", "expected some of both"),
        ([ground(1000, 1000)], "scenes", "one scene"),
    ],
)
def test_too_little_ground_for_a_split(scenes, split, says):
    with pytest.raises(ValueError, match=says):
        plan(scenes, split=split)
