"""RescueNet in miniature: JPEG images, ids 0 to 10 as grey PNG."""

from mini_files import labelled, write_archive

NUMBERS = {"train": (10778, 10779, 10781), "val": (10794, 10801), "test": (10780,)}


def ids(number, size):
    """Ids of the 11-class release, each there."""
    return labelled(number, 11, size)[1]


def write_raw(
    folder,
    *,
    size=64,
    zipped=True,
    extra=False,
    without_label=None,
    wrong_value=None,
    twelve_classes=False,
    root="RescueNet",
    splits=("train", "val", "test"),
):
    """Writes one archive, or its folders.

    Args:
      folder: where.
      size: longer side of the images (4000 in truth).
      zipped: zip, else extracted.
      extra: adds files that do not belong.
      without_label: a number whose label is left out.
      wrong_value: put into six pixels of label 10778.
      twelve_classes: the other release, with ids 0 to 11.
      root: the folder in the archive.
      splits: which of them.
    """
    files = {}
    for split in splits:
        for number in NUMBERS[split]:
            image = labelled(number, 11, size)[0]
            values = labelled(number, 12 if twelve_classes else 11, size)[1]
            if number == 10778 and wrong_value is not None:
                values[-3:, -2:] = wrong_value
            where = f"{root}/{split}/{split}"
            high = size * 3 // 4
            files[f"{where}-org-img/{number}.jpg"] = image[:high]
            if number != without_label:
                name = f"{where}-label-img/{number}_lab.png"
                files[name] = values[-high:]
            if extra:
                colours = f"{root}/ColorMasks-{split}/{number}_lab.png"
                files[colours] = image[:high]
    write_archive(folder, f"{root}.zip", files, zipped=zipped)
