"""Downloads in formats that are not read: which one it is, and what to do about it."""

import re
from collections.abc import Iterable
from pathlib import Path

from crossearth_jax.system.escape import quoted, terminal

_EXTRACT = "extract it with 7-Zip (`7z x FILE`) and leave the folder in its place"
_FIRST = "put all parts into one folder, then `7z x FILE` on the first"
# Name endings: what the format is called, and what to do.
ADVICE = (
    (r"\.7z\.\d{3}", "a part of a split 7z archive", _FIRST),
    (r"\.zip\.\d{3}", "a part of a split zip archive", "`cat NAME.zip.* > NAME.zip`"),
    (r"\.z\d{2}", "a part of a split zip archive", "`zip -s 0 NAME.zip --out ONE.zip`"),
    (r"\.part\d+\.rar|\.r\d{2}", "a part of a split RAR archive", _FIRST),
    (r"\.rar", "a RAR archive", _EXTRACT),
    (r"\.7z", "a 7z archive", _EXTRACT),
    (r"\.(?:tar\.)?zst", "a Zstandard archive", _EXTRACT),
    (
        r"\.parquet",
        "a Parquet table",
        "write its images and labels to files with their published names (`datasets` "
        "reads it), or download the original archives",
    ),
)
_MAGIC = {b"Rar!": "a RAR archive", b"7z\xbc\xaf\x27\x1c": "a 7z archive"}
_PAGES = (b"<!doctype html", b"<html", b"<?xml")


def advice(names: Iterable[str]) -> str:
    """What to do about files that are not read, one clause for each format.

    Args:
      names: of files, of which the images and archives that are read are ignored.

    Returns:
      Begins with "; ", or is empty.
    """
    seen: dict[str, str] = {}
    for name in names:
        if "dsm" in name.lower():  # height models, which nothing here needs
            continue
        for ending, what, remedy in ADVICE:
            if re.search(f"(?:{ending})$", name, re.IGNORECASE):
                clause = f"{terminal(name)} is {what}, which is not read: {remedy}"
                seen.setdefault(what, clause)
                break
    return "".join(f"; {clause}" for clause in seen.values())


def why_not_whole(
    path: Path, within: tuple[str, ...], kind: str, size: int, error: BaseException
) -> str:
    """Why an archive could not be opened, and what to do.

    Args:
      path: of the outermost archive.
      within: names of the archives in it that lead to this one.
      kind: "zip" or "tar".
      size: bytes of the outermost.
      error: what went wrong.
    """
    if isinstance(error, (NotImplementedError, RuntimeError)):
        return (
            f"got an archive that Python cannot read ({quoted(error)}): extract it "
            "with another tool and leave the folder in its place"
        )
    if not within and path.suffix.lower() == ".zip":
        if parts := sorted(p.name for p in path.parent.iterdir() if _is_part(p, path)):
            return (
                f"got the last of {len(parts) + 1} parts of a split zip archive, "
                f"expected one whole zip: `zip -s 0 {path.name} --out whole.zip`, or "
                f"`7z x {path.name}`, then remove the parts"
            )
    if not within and (what := _really(path)):
        return f"got {what}, expected what its name says: {_remedy(what)}"
    got = "an archive in it that is" if within else f"{size:,} bytes that are"
    return (
        f"got {got} not a whole {kind} archive ({error}): the download was probably "
        "cut off, download it again"
    )


def _is_part(other: Path, path: Path) -> bool:
    return other.stem == path.stem and bool(
        re.fullmatch(r"\.z\d{2}", other.suffix, re.IGNORECASE)
    )


def _really(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            begin = file.read(64)
    except OSError:
        return None
    if begin.lstrip().lower().startswith(_PAGES):
        return "a web page"
    return next(
        (what for magic, what in _MAGIC.items() if begin.startswith(magic)), None
    )


def _remedy(what: str) -> str:
    if what == "a web page":
        return "the server asked to log in or to confirm, download it with a browser"
    return _EXTRACT
