"""WHU Building in miniature: the aerial and the East Asian satellite archive.

The satellite archive keeps tiles without a building in folders of their own
(train_no, test_no).
"""

import numpy as np
from mini_files import labelled, write_archive

AERIAL = "3. The cropped aerial image tiles and raster labels.zip"
AERIAL_ROOT = "3. The cropped image tiles and raster labels"
SATELLITE = "Satellite dataset Ⅱ (East Asia).zip"
SATELLITE_ROOT = (
    "Satellite dataset Ⅱ (East Asia)/1. The cropped image data and raster labels"
)
WHOLE_AREA = "Satellite dataset Ⅱ (East Asia)/3. The whole area image dataset"

AERIAL_TILES = {"train": (0, 1, 2), "val": (0, 1), "test": (0, 1)}
SATELLITE_TILES = {"train": (1,), "train_no": (0, 2), "test": (4,), "test_no": (3,)}


def pair(number, size, *, buildings=True):
    """An image and its 0/255 mask."""
    image, ids = labelled(number, 2, size)
    return image, ids * np.uint8(255 if buildings else 0)


def tiles(root, numbers, size, *, without_label=None, wrong_value=None):
    """Files of one archive: `numbers` lists the tiles of each folder."""
    files = {}
    for folder, tile_numbers in numbers.items():
        for number in tile_numbers:
            image, mask = pair(number, size, buildings="_no" not in folder)
            path = f"{root}/{folder}"
            if (folder, number) == ("train", 1) and wrong_value is not None:
                mask[:2, :3] = wrong_value
            files[f"{path}/image/{number}.tif"] = image
            if (folder, number) != without_label:
                files[f"{path}/label/{number}.tif"] = mask
    return files


def write_raw(
    folder,
    *,
    size=64,
    zipped=True,
    extra=False,
    aerial=True,
    satellite=True,
    without_label=None,
    wrong_value=None,
):
    """Writes the archives, or their folders.

    Args:
      folder: where.
      size: side of the tiles in pixels (512 in truth).
      zipped: zips, else extracted.
      extra: adds files that do not belong, and the whole-area scenes.
      aerial: writes the aerial archive.
      satellite: writes the satellite archive.
      without_label: (split folder, number) whose label is left out, in both.
      wrong_value: a value put into both masks of train tile 1.
    """
    odd = {"without_label": without_label, "wrong_value": wrong_value}
    if aerial:
        files = tiles(AERIAL_ROOT, AERIAL_TILES, size, **odd)
        if extra:
            files[f"{AERIAL_ROOT}/train/image/Thumbs.db"] = b"x"
            files[f"{AERIAL_ROOT}/train/notes.tif"] = b"x"
        write_archive(folder, AERIAL, files, zipped=zipped)
    if satellite:
        files = tiles(SATELLITE_ROOT, SATELLITE_TILES, size, **odd)
        if extra:
            scene, mask = pair(9, 2 * size)
            files[f"{WHOLE_AREA}/test/image/test.tif"] = scene
            files[f"{WHOLE_AREA}/test/label/test.tif"] = mask
        write_archive(folder, SATELLITE, files, zipped=zipped)
