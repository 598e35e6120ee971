"""CASID in miniature: four climates, in the layouts and encodings that are around."""

import numpy as np
from mini_files import labelled, write_archive

PALETTE = np.array(
    [(0, 0, 0), (255, 255, 0), (85, 255, 0), (255, 0, 0), (0, 112, 255)], np.uint8
)
# Per climate: folder of CrossEarth's copy, folder of the Hugging Face copy, train and
# test images.
CLIMATES = {
    "sub": ("SubMs", "subtropical_monsoon", (0, 1), (2,)),
    "tem": ("TemMs", "temperate_monsoon", (0, 1), (2,)),
    "tms": ("TroMs", "tropical_monsoon", (0,), (1,)),
    "trf": ("TroRf", "tropical_rainforest", (0,), (1,)),
}
ENCODINGS = ("palette", "ids", "ids from 1")


def label_pixels(ids, encoding):
    """A label as it stands on disk."""
    return PALETTE[ids] if encoding == "palette" else ids + (encoding == "ids from 1")


def write_raw(
    folder,
    *,
    size=40,
    zipped=True,
    layout="splits",
    encoding="ids",
    extra=False,
    climates=tuple(CLIMATES),
    without_label=None,
    wrong_value=None,
    values=None,
):
    """Writes the archive(s), or their folders.

    Args:
      folder: where.
      size: side of the images in pixels (5000 in truth).
      zipped: zips, else extracted.
      layout: "splits" (`SubMs/all_train/{image,label}`) or "regions"
        (`subtropical_monsoon/REGION/NAME.png` and lists of names).
      encoding: one of `ENCODINGS`.
      extra: adds files that do not belong.
      climates: which are there.
      without_label: the climate whose first label is left out.
      wrong_value: a value put into the first label of the subtropical climate.
      values: the ids that occur (as encoded), default all.
    """
    for seed, climate in enumerate(climates):
        short, long, train, test = CLIMATES[climate]
        files, lists = {}, {"train": [], "test": []}
        for number in train + test:
            split = "train" if number in train else "test"
            image, ids = labelled(10 * seed + number, 5, size)
            if values is not None:
                ids = np.asarray(values, np.uint8)[ids % len(values)]
            if (climate, number) == ("sub", 0) and wrong_value is not None:
                ids[:2, :2] = wrong_value
            region = f"region{seed:02d}_near_{climate}"
            stem = f"{region}_{number:03d}"
            images, labels = f"{short}/all_{split}/image", f"{short}/all_{split}/label"
            if (climate, split) == ("tms", "test"):
                labels += "_id"
            if layout == "regions":
                images = labels = f"{long}/{region}"
            lists[split].append(f"{long}/{region}/{stem}")
            files[f"{images}/{stem}.png"] = image
            if number or without_label != climate:
                files[f"{labels}/{stem}-label.png"] = label_pixels(ids, encoding)
        if layout == "regions":
            for split, names in lists.items():
                files[f"splits/{long}_{split}.txt"] = "\n".join(names).encode()
        if extra:
            files[f"{short}/all_train/image/.DS_Store"] = b"x"
            files[f"{short}/notes.md"] = b"x"
        write_archive(folder, f"{short}.zip", files, zipped=zipped)
