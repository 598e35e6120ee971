"""Massachusetts roads in miniature: `tiff/{split}` and `tiff/{split}_labels`."""

import numpy as np
from mini_files import labelled, write_archive

NAMES = {
    "train": ("10078660_15", "10078675_15", "10378780_15"),
    "val": ("10228690_15",),
    "test": ("10378780_15", "10528735_15"),
}


def write_raw(
    folder,
    *,
    size=96,
    zipped=True,
    extra=False,
    original=False,
    without_label=None,
    wrong_value=None,
):
    """Writes the archive, or its folders.

    Args:
      folder: where.
      size: side of the images in pixels (1500 in truth).
      zipped: one zip, else extracted.
      extra: adds files that do not belong.
      original: the layout of the author's site, `{split}/{sat,map}` with `valid`.
      without_label: (split, name) whose label is left out.
      wrong_value: a value put into the first train label.
    """
    files = {"metadata.csv": b"image_id,split\n", "label_class_dict.csv": b"name\n"}
    for split, names in NAMES.items():
        for i, name in enumerate(names):
            image, ids = labelled(len(split) * 10 + i, 2, size)
            mask = ids * np.uint8(255)
            if (split, i) == ("train", 0) and wrong_value is not None:
                mask[:1, :4] = wrong_value
            images, labels = f"tiff/{split}", f"tiff/{split}_labels"
            if original:
                root = "valid" if split == "val" else split
                images, labels = f"{root}/sat", f"{root}/map"
            files[f"{images}/{name}.tiff"] = image
            if (split, name) != without_label:
                files[f"{labels}/{name}.tif"] = mask
    if extra:
        files["tiff/train/10078660_15.tiff.aux.xml"] = b"x"
        files["tiff/train/index.html"] = b"x"
    write_archive(folder, "archive.zip", files, zipped=zipped)
