"""ISPRS Potsdam in miniature: the three archives, true names, palette labels."""

import numpy as np
from mini_files import labelled, write_archive

TRAIN = ((2, 10), (4, 12), (6, 7), (7, 12))
VAL = ((2, 13), (5, 15))
COLOURS = np.array(
    (
        *((255, 255, 255), (0, 0, 255), (0, 255, 255), (0, 255, 0), (255, 255, 0)),
        *((255, 0, 0), (0, 0, 0)),
    )
)
ARCHIVES = {"irrg": "3_Ortho_IRRG", "rgb": "2_Ortho_RGB"}


def pair(area, size):
    """An RGB image and its ids, 6 standing for the black boundary."""
    image, ids = labelled(10 * area[0] + area[1], 6, size)
    ids[:, size // 2] = 6
    return image, ids


def label(area, size):
    """The label's colours, with the defects of the release."""
    colours = COLOURS[pair(area, size)[1]]
    if area == (4, 12):  # a lossy copy
        noise = np.random.default_rng(0).integers(1, 30, colours.shape)
        return np.abs(colours - noise)
    if area == (6, 7):  # most cars are nearly yellow
        colours[(colours == (255, 255, 0)).all(2)] = (252, 255, 0)
    return colours


def write_raw(
    folder,
    *,
    size=64,
    zipped=True,
    bands=("irrg", "rgb"),
    areas=TRAIN + VAL,
    extra=False,
    without_label=None,
    wrong_colour=None,
    boundaries=False,
):
    """Writes the archives, or their folders.

    Args:
      folder: where.
      size: side of the images in pixels (6000 in truth).
      zipped: zips, else extracted.
      bands: which image archives.
      areas: (row, column) of each.
      extra: adds files that do not belong.
      without_label: an area whose label is left out.
      wrong_colour: put into six pixels of 2_10's label.
      boundaries: 5_Labels_all.zip instead of the labels without boundaries.
    """
    for name in bands:
        files = {}
        for area in areas:
            image = pair(area, size)[0]
            if name == "irrg":  # infrared, then red and green
                image = np.dstack(
                    [255 - image[:, :, 2], image[:, :, 0], image[:, :, 1]]
                )
            stem = f"{ARCHIVES[name]}/top_potsdam_{area[0]}_{area[1]}_{name.upper()}"
            files[f"{stem}.tif"] = image
            files[f"{stem}.tfw"] = b"0.05"
        if extra:
            files[f"{ARCHIVES[name]}/top_potsdam_9_9_{name.upper()}.tif"] = b"x"
            files["__MACOSX/._top_potsdam_2_10_RGB.tif"] = b"x"
        write_archive(folder, f"{ARCHIVES[name]}.zip", files, zipped=zipped)
    ending = "label" if boundaries else "label_noBoundary"
    files = {}
    for area in areas:
        colours = label(area, size)
        if area == (2, 10) and wrong_colour is not None:
            colours[-3:, -2:] = wrong_colour
        if area != without_label:
            name = f"top_potsdam_{area[0]}_{area[1]}_{ending}.tif"
            files[name] = colours
    archive = "5_Labels_all.zip" if boundaries else "5_Labels_all_noBoundary.zip"
    write_archive(folder, archive, files, zipped=zipped)
