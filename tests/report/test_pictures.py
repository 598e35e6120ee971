import numpy as np

from crossearth_jax.pixels.contact_sheet import PANEL
from crossearth_jax.pixels.drawing import GAP, LINE
from crossearth_jax.report.pictures import RIGHT, WRONG, domain_picture
from crossearth_jax.scoring.domain import Example

NAMES = ("field", "house", "water")
PALETTE = ((90, 160, 60), (200, 40, 40), (0, 0, 255))


def example(height=60, width=90, name="scene"):
    """Truth: field, last quarter of the rows ignored; prediction: right half house."""
    truth = np.zeros((height, width), np.uint8)
    truth[-(height // 4) :] = 255
    prediction = np.zeros((height, width), np.uint8)
    prediction[:, width // 2 :] = 1
    image = np.full((height, width, 3), (12, 34, 56), np.uint8)
    return Example(name, image, truth, prediction)


def panels(picture, height, row_top=GAP + 3 * LINE):
    lefts = [GAP + i * (PANEL + GAP) for i in range(4)]
    pixels = np.asarray(picture)
    return [pixels[row_top : row_top + height, x : x + PANEL] for x in lefts]


def test_the_four_panels_show_what_they_say():
    picture = domain_picture("home", [example()], NAMES, PALETTE)
    image, truth, prediction, error = panels(picture, 192)
    assert (image == (12, 34, 56)).all()
    assert (truth[:143] == PALETTE[0]).all()
    assert (prediction[:, :144] == PALETTE[0]).all()
    assert (prediction[:, 144:] == PALETTE[1]).all()
    assert (error[:143, :144] == RIGHT).all()
    assert (error[:143, 144:] == WRONG).all()
    for panel in (truth[145:], error[145:]):  # ignored: grey
        assert (panel == panel[..., :1]).all()
        assert 140 < panel.mean() < 200


def test_large_and_small_images_get_panels_of_one_size():
    pictures = [
        domain_picture("home", [example(height, width)], NAMES, PALETTE)
        for height, width in ((6, 9), (60, 90), (1200, 1800))
    ]
    assert len({picture.size for picture in pictures}) == 1


def test_rows_of_different_shapes_and_label_sizes_stand_below_each_other():
    tall = example(90, 60)
    other = example(60, 90, name="a name that is much too long " * 20)
    half = Example("half", tall.image, tall.truth[::2, ::2], tall.prediction[::2, ::2])
    one = domain_picture("home", [other], NAMES, PALETTE)
    three = domain_picture("home", [other, tall, half], NAMES, PALETTE)
    assert three.width == one.width
    assert three.height == one.height + 2 * (PANEL + LINE + GAP)


def test_the_legend_has_every_class_and_grows_with_them():
    names = [f"a rather long class name {i}" for i in range(20)]
    palette = [(7 * i, 255 - 9 * i, 128) for i in range(20)]
    picture = domain_picture("home", [example()], names, palette)
    assert picture.height > domain_picture("h", [example()], NAMES, PALETTE).height
    legend = np.asarray(picture)[GAP + 3 * LINE + 192 + GAP :].reshape(-1, 3)
    shown = {tuple(colour) for colour in legend.tolist()}
    assert set(palette) <= shown and {RIGHT, WRONG} <= shown


def test_a_domain_without_examples_still_has_a_legend():
    picture = domain_picture("empty", [], NAMES, PALETTE)
    shown = {tuple(c) for c in np.asarray(picture).reshape(-1, 3).tolist()}
    assert set(PALETTE) <= shown


def test_pictures_are_deterministic():
    first, second = (
        np.asarray(domain_picture("home", [example()], NAMES, PALETTE)) for _ in "ab"
    )
    np.testing.assert_array_equal(first, second)
