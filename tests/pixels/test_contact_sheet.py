import numpy as np
import pytest

from crossearth_jax.pixels.contact_sheet import (
    PANEL,
    class_map,
    contact_sheet,
    evenly_spaced,
    fitted,
    fitted_ids,
)
from crossearth_jax.pixels.drawing import GAP, INK, LINE
from crossearth_jax.pixels.labels import IGNORE
from crossearth_jax.pixels.legend import class_entries, hatch, legend, not_annotated

PALETTE = ((90, 160, 60), (255, 255, 255))


def panel(colour, height=PANEL, width=PANEL):
    return np.full((height, width, 3), colour, np.uint8)


def colours(picture):
    return {tuple(c) for c in np.asarray(picture).reshape(-1, 3).tolist()}


def test_a_row_per_cell_under_the_headers():
    red, blue = (200, 0, 0), (0, 0, 200)
    cells = [
        ("a", [panel(red, 100), panel(blue, 100)]),
        ("b" * 200, [panel(blue, width=50), panel(red, width=50)]),
    ]
    sheet = contact_sheet(cells, columns=["one", "two"])
    first = GAP + 2 * LINE
    second = first + 100 + GAP + LINE
    assert sheet.size == (GAP + 2 * (PANEL + GAP), second + PANEL + GAP)
    pixels = np.asarray(sheet)
    right = slice(2 * GAP + PANEL, 2 * GAP + 2 * PANEL)
    assert (pixels[first : first + 100, GAP : GAP + PANEL] == red).all()
    assert (pixels[first : first + 100, right] == blue).all()
    left = GAP + (PANEL - 50) // 2  # in the middle of its place
    assert (pixels[second : second + PANEL, left : left + 50] == blue).all()
    assert (pixels[second - 1 : second + PANEL + 1, left - 1] == INK).all()  # framed


def test_cells_side_by_side_and_a_last_row_that_is_not_full():
    cells = [(str(i), [panel((i, 0, 0)), panel((0, i, 0))]) for i in (50, 60, 70)]
    sheet = contact_sheet(cells, across=2)
    assert sheet.size == (GAP + 4 * (PANEL + GAP), GAP + 2 * (LINE + PANEL + GAP))
    assert {(50, 0, 0), (0, 60, 0), (70, 0, 0)} <= colours(sheet)
    assert contact_sheet(cells[:1], across=2).width == GAP + 2 * (PANEL + GAP)


def test_panels_without_names_have_no_line_for_them():
    sheet = contact_sheet([("", [panel(0, 10, 40)] * 2)], panel=40)
    assert sheet.size == (3 * GAP + 80, 2 * GAP + 10)


def test_a_sheet_without_cells_has_its_legend():
    entries = class_entries(("field", "roof"), PALETTE)
    assert {*PALETTE} <= colours(contact_sheet([], groups={"": entries}))


def test_the_legend_shows_white_classes_and_wraps():
    entries = class_entries(("field", "roof"), PALETTE)
    assert {*PALETTE, INK} <= colours(legend({"": entries}, 300))
    both = {"classes:": [*entries, not_annotated()], "error:": entries}
    wide, narrow = (legend(both, width) for width in (600, 120))
    assert wide.height == 2 * LINE + GAP and narrow.height == 5 * LINE + GAP
    assert legend({}, 300).height == 0


@pytest.mark.parametrize("size", [(6, 9), (90, 60), (1200, 1800)])
def test_images_and_ids_fit_a_panel(size):
    image = fitted(np.zeros((*size, 3), np.uint8))
    assert max(image.shape) == PANEL
    ids = np.zeros(size, np.uint8)
    ids[: size[0] // 2] = 4
    for label in (ids, ids[::2, ::2]):
        shrunk = fitted_ids(label, image)
        assert shrunk.shape == image.shape[:2]
        assert set(np.unique(shrunk)) == {0, 4}


def test_ignored_pixels_are_hatched():
    ids = np.full((8, 8), IGNORE, np.uint8)
    ids[0] = 1
    picture = class_map(ids, PALETTE)
    assert (picture[0] == PALETTE[1]).all()
    np.testing.assert_array_equal(picture[1:], hatch(8, 8)[1:])


def test_evenly_spaced():
    assert evenly_spaced(3, 24) == [0, 1, 2]
    many = evenly_spaced(1000, 24)
    assert len(many) == 24 and many[0] == 0 and many[-1] == 999
    assert evenly_spaced(0, 8) == []
