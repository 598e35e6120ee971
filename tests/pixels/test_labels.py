import numpy as np

from crossearth_jax.pixels.labels import IGNORE, IGNORED, coloured

PALETTE = ((90, 160, 60), (200, 40, 40))


def test_ids_take_their_colours_and_what_is_no_class_is_grey():
    ids = np.array([[0, 1, 2], [IGNORE, 1, 0]], np.uint8)
    picture = coloured(ids, PALETTE)
    first, second = PALETTE
    assert picture.dtype == np.uint8
    assert [tuple(c) for c in picture[0].tolist()] == [first, second, IGNORED]
    assert [tuple(c) for c in picture[1].tolist()] == [IGNORED, second, first]


def test_an_empty_palette_is_grey():
    assert (coloured(np.zeros((2, 2), np.uint8), ()) == IGNORED).all()
