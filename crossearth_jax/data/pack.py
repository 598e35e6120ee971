"""Writes the archive of a split; `packed.py` has the layout and reads it."""

import json
from pathlib import Path

from crossearth_jax.data.check_files import check_headers
from crossearth_jax.data.folders import find_pairs
from crossearth_jax.data.packed import FORMAT, MAX_INDEX, SUFFIX, array_record
from crossearth_jax.system.whole_file import whole_file

# PNG and JPEG do not compress; single records can be read in any order.
OPTIONS = "group_size:1,uncompressed"


def pack_split(folder: Path) -> Path:
    """Packs FOLDER/images and FOLDER/labels into FOLDER.array_record, beside FOLDER.

    The same files give the same archive, bit by bit. The folder stays as it is; the
    archive is used where it is named, or where FOLDER/images is gone.

    Args:
      folder: e.g. OUT/potsdam_irrg/train.

    Returns:
      The archive, e.g. OUT/potsdam_irrg/train.array_record.

    Raises:
      ValueError: the files do not pair or cannot be used, see `check_headers`.
      OSError: a file cannot be read, or the archive cannot be written.
      ImportError: there is no ArrayRecord, as on Windows.
    """
    library = array_record()
    pairs = find_pairs(folder / "images", folder / "labels")
    check_headers(pairs)
    archive = folder.with_name(folder.name + SUFFIX)
    files: list[tuple[str, int]] = []
    with whole_file(archive) as place:
        writer = library.ArrayRecordWriter(str(place), OPTIONS)
        for pair in pairs:
            for kind, file in (("images", pair.image), ("labels", pair.label)):
                content = file.read_bytes()
                files.append((f"{kind}/{file.name}", len(content)))
                writer.write(content)
        writer.write(_index(files, folder))
        writer.close()
        _check_complete(place, archive, len(files) + 1)
    return archive


def _index(files: list[tuple[str, int]], folder: Path) -> bytes:
    """The last record."""
    text = json.dumps({"format": FORMAT, "files": files}).encode()
    if len(text) > MAX_INDEX:
        raise ValueError(
            f"{folder}: got {len(files):,} names of {len(text):,} bytes together, "
            f"expected at most {MAX_INDEX:,} in one archive: split the folder, or "
            "shorten the names"
        )
    return text


def _check_complete(place: Path, archive: Path, count: int) -> None:
    """A full disk leaves a file that looks empty to its reader."""
    reader = array_record().ArrayRecordReader(str(place))
    written = reader.num_records()
    reader.close()
    if written != count:
        raise OSError(
            f"{archive}: got {written} records on the disk, expected {count}: free "
            "some space and pack again"
        )
