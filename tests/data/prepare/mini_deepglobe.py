"""DeepGlobe road in miniature: train pairs, valid and test images without masks."""

import numpy as np
from mini_files import labelled, write_archive

TRAIN = (104, 100034, 999097)
UNLABELLED = {"valid": (100794,), "test": (100393,)}


def write_raw(
    folder, *, size=64, zipped=True, extra=False, without_mask=None, wrong_size=False
):
    """Writes the archive, or its folders.

    Args:
      folder: where.
      size: side of the images in pixels (1024 in truth).
      zipped: one zip, else extracted.
      extra: adds files that do not belong.
      without_mask: the id of a train image whose mask is left out.
      wrong_size: the first mask is smaller than its image.
    """
    files = {"metadata.csv": b"image_id,split\n", "class_dict.csv": b"name,r,g,b\n"}
    for number in TRAIN:
        image, ids = labelled(number, 2, size)
        # Three equal channels, not purely 0 and 255.
        grey = np.where(ids == 1, 250, 3) + (np.arange(size) % 4)
        grey = grey[:-2] if wrong_size and number == TRAIN[0] else grey
        mask = np.repeat(grey[:, :, None], 3, axis=2)
        files[f"train/{number}_sat.jpg"] = image
        if number != without_mask:
            files[f"train/{number}_mask.png"] = mask
    for split, numbers in UNLABELLED.items():
        for number in numbers:
            image = labelled(number, 2, size)[0]
            files[f"{split}/{number}_sat.jpg"] = image
    if extra:
        files["train/preview.png"] = b"x"
        files["__MACOSX/train/._104_sat.jpg"] = b"x"
    write_archive(folder, "archive.zip", files, zipped=zipped)
