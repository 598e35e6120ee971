"""Raw archives to prepared domains: parallel, streaming, restartable."""

import multiprocessing
import os
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from crossearth_jax.data.prepare.alone import alone
from crossearth_jax.data.prepare.contact_sheet import write_contact_sheet
from crossearth_jax.data.prepare.items import NOT_GREY, DataSet, Item, LabelCode
from crossearth_jax.data.prepare.manifest import (
    Journal,
    Written,
    absent_classes,
    build_manifest,
    read_manifest,
    settings_of,
    sources_of,
    write_manifest,
)
from crossearth_jax.data.prepare.raw import RawFiles
from crossearth_jax.data.prepare.write import Job, write_item
from crossearth_jax.system.escape import terminal
from crossearth_jax.system.progress import progress


def prepare(
    data_set: DataSet,
    raw: Path | str,
    out: Path | str,
    *,
    workers: int = 0,
    pack: bool = False,
) -> dict[str, dict[str, Any]]:
    """Prepares every domain whose raw files are there; prints what it finds and does.

    A run that was interrupted continues with the pairs that are missing; a complete
    one checks that all files are there and writes nothing.

    Args:
      data_set: what to look for.
      raw: folder with the archives as downloaded, extracted folders, or both.
      out: gets OUT/DOMAIN/SPLIT/{images,labels} and OUT/DOMAIN/manifest.json.
      workers: processes beside this one; 0 works in this one.
      pack: also packs every split into one ArrayRecord file.

    Returns:
      {domain: manifest}.

    Raises:
      ValueError: nothing to prepare, a damaged or unknown raw file, or a folder that
        holds something else.
    """
    files = RawFiles(raw)
    items = find_items(data_set, files)
    _say_extra(files, items)

    @cache
    def code() -> LabelCode:
        found = data_set.code
        return found(items) if callable(found) else found

    by_domain: dict[str, list[Item]] = {}
    for item in items:
        by_domain.setdefault(item.domain, []).append(item)
    for domain in dict.fromkeys(domain for domain, _ in data_set.expected):
        if domain not in by_domain:
            print(f"{domain}: not prepared, its files are not in {raw}")
    manifests = {}
    for domain, members in by_domain.items():
        folder = Path(out) / domain
        with alone(folder):
            manifests[domain] = _prepare_domain(
                data_set, files, folder, members, code, workers=workers
            )
            if pack:
                _pack(folder, manifests[domain])
    return manifests


def find_items(data_set: DataSet, files: RawFiles) -> list[Item]:
    """All raw pairs of a data set.

    Raises:
      ValueError: there is none, one lacks its partner, or two are the same; also says
        what to do about files of formats that are not read.
    """
    try:
        items = list(data_set.find(files))
        _check_items(data_set, files, items)
    except ValueError as error:
        raise ValueError(f"{error}{files.advice()}") from error
    return items


def _check_items(data_set: DataSet, files: RawFiles, items: Sequence[Item]) -> None:
    if not items:
        raise ValueError(
            f"{files.folder}: got {len(files.members)} files, none of them of "
            f"{data_set.title}: expected {data_set.hint}"
        )
    keys = Counter((item.domain, item.split, item.name) for item in items)
    if repeats := [key for key, count in keys.items() if count > 1]:
        raise ValueError(
            f"got {'/'.join(repeats[0])} {keys[repeats[0]]} times, expected each once"
        )


def _say_extra(files: RawFiles, items: Iterable[Item]) -> None:
    used = {member for item in items for member in (item.image, item.label)}
    extra = [terminal(member.name) for member in files.images() if member not in used]
    if extra:
        shown = ", ".join(extra[:3]) + (", …" if len(extra) > 3 else "")
        print(f"not used: {len(extra)} image files ({shown})")


@dataclass(frozen=True)
class _Plan:
    """What is there of one domain, and what is left to do.

    Attributes:
      folder: of the domain.
      items: all its raw pairs.
      sources: the raw files, as the manifest lists them.
      begun: settings that the folder was begun with; None for a new one.
      done: pairs that are there already, by split and name.
      todo: the others.
      manifest: of a domain that was complete.
    """

    folder: Path
    items: Sequence[Item]
    sources: list[dict[str, Any]]
    begun: dict[str, Any] | None
    done: dict[tuple[str, str], Written]
    todo: list[Item]
    manifest: dict[str, Any] | None


def _prepare_domain(
    data_set: DataSet,
    files: RawFiles,
    folder: Path,
    items: Sequence[Item],
    code: Callable[[], LabelCode],
    *,
    workers: int,
) -> dict[str, Any]:
    plan = _planned(data_set, files, folder, items)
    if plan.manifest and not plan.todo:
        _refuse_strangers(folder, plan.done.values())
        print(f"{folder}: complete, nothing to do ({_counts(plan.manifest)})")
        return plan.manifest
    journal = _begun(data_set, plan, code())
    written = plan.done | _written(data_set, plan, code(), journal, workers)
    ordered = [written[item.split, item.name] for item in items]
    return _finish(data_set, folder, code(), items, ordered, plan.sources)


def _planned(
    data_set: DataSet, files: RawFiles, folder: Path, items: Sequence[Item]
) -> _Plan:
    """Looks at what is there; changes nothing."""
    begun, noted = Journal(folder).read()
    manifest = read_manifest(folder)
    if begun is None:
        _refuse_strangers(folder, ())
    else:
        _check_settings(folder, begun, settings_of(data_set))
    done = dict(_still_valid(folder, items, noted))
    todo = [item for item in items if (item.split, item.name) not in done]
    sources = sources_of(files, items)
    if manifest and manifest["sources"] != sources:
        print(
            f"{folder}: the raw files are not those of manifest.json (other sizes, "
            f"places or digests); {len(todo)} of {len(items)} pairs differ in size"
        )
    return _Plan(folder, items, sources, begun, done, todo, manifest)


def _begun(data_set: DataSet, plan: _Plan, code: LabelCode) -> Journal:
    """Makes the folders, and a journal of what is there; no manifest from here on."""
    folder, known = plan.folder, {"labels": code.describe()}
    if plan.begun is not None:
        _check_settings(folder, plan.begun, known)
    if plan.done:
        there = f"{len(plan.done)} of {len(plan.items)} pairs are there"
        print(f"{folder}: {there}, continuing")
    _make_folders(folder, {item.split for item in plan.items})
    (folder / "manifest.json").unlink(missing_ok=True)
    journal = Journal(folder)
    journal.begin(settings_of(data_set) | known, plan.done.values())
    return journal


def _written(
    data_set: DataSet, plan: _Plan, code: LabelCode, journal: Journal, workers: int
) -> dict[tuple[str, str], Written]:
    """Writes what is left to do, and a line of the journal for each pair."""
    folder, classes = plan.folder, len(data_set.classes.names)
    jobs = [
        Job(item, item.code or code, folder, data_set.tile, classes)
        for item in plan.todo
    ]
    found = {}
    with progress(f"preparing {folder.name}", len(jobs), "raw pairs") as advance:
        for written in _write_all(jobs, workers):
            journal.add(written)
            found[written.split, written.name] = written
            advance()
    return found


def _finish(
    data_set: DataSet,
    folder: Path,
    code: LabelCode,
    items: Sequence[Item],
    written: Sequence[Written],
    sources: list[dict[str, Any]],
) -> dict[str, Any]:
    """Contact sheet, then the manifest, which marks the domain as complete."""
    _refuse_strangers(folder, written)
    manifest = build_manifest(data_set, folder.name, code, items, written, sources)
    total = sum((Counter(split) for split in manifest["pixels"].values()), Counter())
    pairs = [
        (folder / w.split / "images" / image, folder / w.split / "labels" / label)
        for w in written
        for image, label in zip(w.images, w.labels, strict=True)
    ]
    write_contact_sheet(folder / "contact_sheet.png", pairs, data_set.classes, total)
    write_manifest(folder, manifest)
    print(f"{folder}: {_counts(manifest)}; labels: {manifest['labels']}")
    _warn(data_set, folder, manifest)
    return manifest


def _warn(data_set: DataSet, folder: Path, manifest: dict[str, Any]) -> None:
    """Of classes without a pixel, and of numbers of images that were not expected."""
    if absent := absent_classes(manifest):
        some = "another release, or labels that somebody encoded anew"
        print(
            f"WARNING {folder.name}: NO PIXEL of {', '.join(absent)} in "
            f"{sum(manifest['counts'].values())} labels, expected every class: look at "
            f"{folder / 'contact_sheet.png'}; if it is wrong, these are {some}"
        )
    values = manifest["label_values"]["before"]
    coloured = sum(n for value, n in values.items() if value.endswith(NOT_GREY))
    if coloured:
        print(f"{folder}: {coloured} mask pixels are not grey; their mean is compared")
    for split in sorted(manifest["expected"].keys() | manifest["counts"].keys()):
        count = manifest["counts"].get(split, 0)
        expected = manifest["expected"].get(split, count)
        if count != expected:
            print(
                f"WARNING {folder.name}/{split}: got {count} images, expected "
                f"{expected} ({count - expected:+d}): {data_set.hint}"
            )


def _counts(manifest: dict[str, Any]) -> str:
    return ", ".join(f"{n} {split}" for split, n in manifest["counts"].items())


def _check_settings(folder: Path, old: dict[str, Any], new: dict[str, Any]) -> None:
    for key, value in new.items():
        if old.get(key) != value:
            raise ValueError(
                f"{folder}: got {key} {value!r}, expected {old.get(key)!r} with which "
                "this folder was begun: give another --out, or remove the folder"
            )


def _still_valid(
    folder: Path, items: Iterable[Item], done: dict[tuple[str, str], Written]
) -> Iterator[tuple[tuple[str, str], Written]]:
    """Journal entries whose raw sizes and files are as noted."""
    there = _files(folder)
    for item in items:
        entry = done.get((item.split, item.name))
        if entry is None or entry.raw != (item.image.size, item.label.size):
            continue
        if _places([entry]) <= there:
            yield (item.split, item.name), entry


def _places(written: Iterable[Written]) -> set[tuple[str, str, str]]:
    return {
        (entry.split, kind, name)
        for entry in written
        for kind, names in (("images", entry.images), ("labels", entry.labels))
        for name in names
    }


def _files(folder: Path) -> set[tuple[str, str, str]]:
    """(split, images or labels, file name) of everything there."""
    found = folder.glob("*/*/*")
    return {
        (path.parent.parent.name, path.parent.name, path.name)
        for path in found
        if path.parent.name in ("images", "labels") and not path.name.startswith(".")
    }


def _refuse_strangers(folder: Path, written: Iterable[Written]) -> None:
    if strangers := sorted(_files(folder) - _places(written)):
        raise ValueError(
            f"{folder}: got {len(strangers)} files that do not come from the raw files "
            f"given (e.g. {'/'.join(strangers[0])}), expected none: complete --raw, "
            "remove them, or give another --out"
        )


def _make_folders(folder: Path, splits: Iterable[str]) -> None:
    for split in splits:
        for kind in ("images", "labels"):
            place = folder / split / kind
            place.mkdir(parents=True, exist_ok=True)
            for partial in place.glob(".*.tmp"):  # of a run that was killed
                partial.unlink()


def _pack(folder: Path, manifest: dict[str, Any]) -> None:
    from crossearth_jax.data.pack import pack_split
    from crossearth_jax.data.packed import SUFFIX

    written = (folder / "manifest.json").stat().st_mtime_ns
    for split in manifest["counts"]:
        archive = folder / f"{split}{SUFFIX}"
        if not archive.exists() or archive.stat().st_mtime_ns < written:
            print(f"packed: {pack_split(folder / split)}")


# Processes


def _write_all(jobs: Sequence[Job], workers: int) -> Iterator[Written]:
    """Results in order; few jobs are in flight, so that an error stops soon."""
    if not workers:
        yield from map(write_item, jobs)
        return
    context = multiprocessing.get_context("spawn")  # threads may run in this process
    pool = ProcessPoolExecutor(workers, context, initializer=_end_with_parent)
    try:
        waiting = deque()
        for job in jobs:
            waiting.append(pool.submit(write_item, job))
            if len(waiting) > 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool as error:
        raise ValueError(
            f"got a worker process that was killed, probably for memory, expected "
            f"{workers} to fit: take fewer --workers and start again, it continues"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _end_with_parent() -> None:
    """Workers of a killed run must not live on, waiting for work."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
