"""LoveDA in miniature: Train.zip and Val.zip, both scenes, masks 0 (no data) to 7."""

import numpy as np
from mini_files import labelled, write_archive

# Numbers run on over scenes and splits, as in the release.
PAIRS = {
    ("Train", "Rural"): (0, 1, 2),
    ("Train", "Urban"): (1366, 1367),
    ("Val", "Rural"): (2522, 2523),
    ("Val", "Urban"): (3514,),
}


def mask(number, size):
    """Values 1 to 7, and a corner without data."""
    values = labelled(number, 7, size)[1] + 1
    values[: size // 8, : size // 8] = 0
    return values


def write_raw(
    folder,
    *,
    size=64,
    zipped=True,
    extra=False,
    without_mask=None,
    wrong_value=None,
    test_set=False,
):
    """Writes the archives, or their folders.

    Args:
      folder: where.
      size: side of the images in pixels (1024 in truth).
      zipped: zips, else extracted.
      extra: adds files that do not belong.
      without_mask: the number of an image whose mask is left out.
      wrong_value: a value put into the mask of image 0.
      test_set: adds Test.zip, which has no masks.
    """
    for split in ("Train", "Val"):
        files = {}
        for scene in ("Rural", "Urban"):
            for number in PAIRS[split, scene]:
                image = labelled(number, 7, size)[0]
                values = mask(number, size)
                if number == 0 and wrong_value is not None:
                    values[-3:, -2:] = wrong_value
                root = f"{split}/{scene}"
                files[f"{root}/images_png/{number}.png"] = image
                if number != without_mask:
                    files[f"{root}/masks_png/{number}.png"] = values
        if extra:
            files[f"{split}/Rural/images_png/.DS_Store"] = b"x"
            files[f"__MACOSX/{split}/Rural/images_png/._0.png"] = b"x"
            files[f"{split}/Rural/readme.txt"] = b"LoveDA"
        write_archive(folder, f"{split}.zip", files, zipped=zipped)
    if test_set:
        image = np.zeros((size, size, 3))
        files = {f"Test/{s}/images_png/4191.png": image for s in ("Rural", "Urban")}
        write_archive(folder, "Test.zip", files, zipped=zipped)
