"""ISPRS Vaihingen in miniature: images of several sizes, eroded palette labels."""

from mini_files import labelled, write_archive
from mini_potsdam import COLOURS

IMAGES = "ISPRS_semantic_labeling_Vaihingen"
ERODED = f"{IMAGES}_ground_truth_eroded_COMPLETE"
# Area: width, height in parts of `size`, as the areas differ in truth.
AREAS = {1: (1, 1.3), 3: (1, 1), 37: (1.5, 1), 2: (1, 1), 38: (1.2, 1)}


def pair(area, size):
    """An IR-R-G image and its ids, 6 standing for the eroded boundary."""
    width, height = (round(size * part) for part in AREAS[area])
    image, ids = labelled(area, 6, max(width, height))
    ids[::7] = 6
    return image[:height, :width], ids[:height, :width]


def write_raw(
    folder,
    *,
    size=64,
    zipped=True,
    extra=False,
    without_label=None,
    wrong_colour=None,
    eroded=True,
):
    """Writes the archives, or their folders.

    Args:
      folder: where.
      size: of the smallest images.
      zipped: zips, else extracted.
      extra: adds the label of area 9, which has no image, and a height model.
      without_label: an area whose label is left out.
      wrong_colour: put into six pixels of area 1's label.
      eroded: False gives the labels with boundaries, named as the images are.
    """
    images, labels = {}, {}
    for area in AREAS:
        image, ids = pair(area, size)
        colours = COLOURS[ids]
        if area == 1 and wrong_colour is not None:
            colours[-3:, -2:] = wrong_colour
        name = f"top_mosaic_09cm_area{area}"
        images[f"top/{name}.tif"] = image
        if area != without_label:
            ending = "_noBoundary" if eroded else ""
            labels[f"{name}{ending}.tif"] = colours
    if extra:
        images["dsm/dsm_09cm_matching_area1.tif"] = b"x"
        labels["top_mosaic_09cm_area9_noBoundary.tif"] = colours
    write_archive(folder, f"{IMAGES}.zip", images, zipped=zipped)
    archive = ERODED if eroded else f"{IMAGES}_ground_truth_COMPLETE"
    write_archive(folder / "labels", f"{archive}.zip", labels, zipped=zipped)
