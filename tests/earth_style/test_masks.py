import jax
import numpy as np
import pytest

from crossearth_jax.earth_style.masks import altered_mask, block_mask

KEY = jax.random.key(3)


@pytest.mark.parametrize("ratio", [0.1, 0.3, 0.7])
def test_ratio_is_the_share_of_altered_area(ratio):
    mask = np.asarray(altered_mask(KEY, 8, 128, 128, ratio, 4))  # 8192 blocks
    assert abs(mask.mean() - ratio) < 0.02


def test_blocks_are_whole():
    mask = np.asarray(altered_mask(KEY, 2, 96, 64, 0.5, 32))
    blocks = mask.reshape(2, 3, 32, 2, 32)
    np.testing.assert_array_equal(
        blocks, np.broadcast_to(blocks[:, :, :1, :, :1], blocks.shape)
    )
    assert mask.any() and not mask.all()


def test_grid_is_the_ceiling_where_the_block_does_not_divide():
    mask = np.asarray(altered_mask(KEY, 4, 100, 70, 0.5, 32))
    assert mask.shape == (4, 100, 70)
    # ⌈100/32⌉ = 4 rows of blocks of 25 pixels, ⌈70/32⌉ = 3 columns starting at
    # ⌈70k/3⌉: a new block can start nowhere else.
    rows = np.flatnonzero((mask[:, 1:] != mask[:, :-1]).any((0, 2))) + 1
    columns = np.flatnonzero((mask[:, :, 1:] != mask[:, :, :-1]).any((0, 1))) + 1
    assert set(rows) == {25, 50, 75}
    assert set(columns) == {24, 47}


def test_threshold_includes_the_ratio():
    u = np.array([[[0.3, 0.30001], [0.0, 0.9]]], np.float32)
    mask = block_mask(u, 4, 2, np.float32(0.3).item())
    expected = [[True, False], [True, False], [True, False], [True, False]]
    np.testing.assert_array_equal(mask[0], expected)


def test_extremes_and_keys():
    assert altered_mask(KEY, 1, 64, 64, 1.0, 8).all()
    assert not altered_mask(KEY, 1, 64, 64, 0.0, 8).any()
    again = altered_mask(KEY, 1, 64, 64, 0.5, 8)
    np.testing.assert_array_equal(altered_mask(KEY, 1, 64, 64, 0.5, 8), again)
    other = altered_mask(jax.random.key(4), 1, 64, 64, 0.5, 8)
    assert (np.asarray(other) != np.asarray(again)).any()


@pytest.mark.parametrize(("ratio", "block"), [(-0.1, 8), (1.1, 8), (0.5, 0)])
def test_bad_numbers(ratio, block):
    with pytest.raises(ValueError, match="expected"):
        altered_mask(KEY, 1, 64, 64, ratio, block)
