"""`crossearth predict CHECKPOINT INPUT… --out DIR|FILE`: maps of real scenes."""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import jax

from crossearth_jax.commands.errors import guarded
from crossearth_jax.commands.part import in_array, part_of, share_of
from crossearth_jax.commands.predict_blocks import (
    blocks_of,
    check_joined,
    join_blocks,
)
from crossearth_jax.commands.predict_inputs import find_sources
from crossearth_jax.commands.predict_jobs import Job, check_apart, plan_jobs
from crossearth_jax.commands.predict_options import predict_parser, wanted_of, words
from crossearth_jax.commands.predict_progress import Board
from crossearth_jax.commands.predict_summary import (
    LEFT_OUT,
    MADE,
    THERE,
    Row,
    read_summary,
    summary_paths,
    write_summary,
)
from crossearth_jax.predict import geo
from crossearth_jax.predict.files import Done, predict_file
from crossearth_jax.predict.outputs import Wanted, class_pixels, is_done
from crossearth_jax.predict.predictor import Predictor, load
from crossearth_jax.predict.sources import Source, address_of
from crossearth_jax.system import hosts
from crossearth_jax.system.compiling import set_up_compiler
from crossearth_jax.system.escape import LINE, terminal


def main(argv: Sequence[str]) -> int:
    """Runs the command; an error of the user's input becomes one line."""
    stopped = "stopped; the same command makes the rest"
    return guarded(run, predict_parser().parse_args(argv), stopped)


def run(options: argparse.Namespace) -> int:
    """Makes this process's share of the maps; 1 if some could not be made."""
    set_up_compiler()
    geo.needed("rasterio")
    if options.vector:
        geo.needed("geopandas")
        geo.needed("pyogrio")
    part = part_of(options.part)
    scenes = find_sources(options.inputs, options.asset)
    jobs = plan_jobs(scenes, options.out, options.vector, options.keep_folders)
    wanted = wanted_of(options)
    check_apart(jobs, wanted)
    scenes_and_parts = _with_parts(jobs, options)
    parts = [part for _, parts in scenes_and_parts for part in parts]
    mine = share_of(share_of(parts, part), _process(options))
    if in_array() and options.part is None and len(jobs) > 1:
        print(
            f"this task of a job array maps all {len(jobs)} scenes: pass --part auto "
            "(Slurm) or --part /N (Kubernetes) to share them",
            file=sys.stderr,
        )
    predictor = load(
        options.checkpoint,
        precision=options.precision,
        batch=options.batch,
        stride=options.stride,
        tta=words(options.tta),
        backbone=options.backbone,
        classes=options.classes,
        crop=options.crop,
    )
    for job, blocks in scenes_and_parts:
        if blocks != [job]:
            check_joined(predictor, job, wanted, overwrite=options.overwrite)
    maps = _Maps(predictor, mine, wanted, options, part, len(parts) == 1)
    failed = maps.make()
    for job, blocks in scenes_and_parts:
        if blocks != [job] and not _join(predictor, job, blocks, wanted, options):
            failed = 1
    return failed


def _with_parts(
    jobs: Sequence[Job], options: argparse.Namespace
) -> list[tuple[Job, list[Job]]]:
    """Each scene and its blocks: itself alone where it is not cut."""
    if options.block is None:
        return [(job, [job]) for job in jobs]
    if options.gsd is not None:
        raise ValueError(
            f"got --block {options.block} with --gsd {options.gsd:g}, expected one of "
            "them: resample first, such as with gdalwarp -tr"
        )
    return [(job, blocks_of(job, options.block)) for job in jobs]


def _join(
    predictor: Predictor,
    job: Job,
    blocks: Sequence[Job],
    wanted: Wanted,
    options: argparse.Namespace,
) -> bool:
    """False if the blocks are there but cannot be joined."""
    overwrite = options.overwrite
    try:
        made = join_blocks(predictor, job, blocks, wanted, overwrite=overwrite)
    except Exception as error:
        if options.traceback:
            raise
        reason = terminal(reason_of(error, job.source), LINE)
        print(f"left out: {reason}", file=sys.stderr, flush=True)
        return False
    if made:
        print(f"{job.source}: {', '.join(map(str, made))} over {len(blocks)} blocks")
    else:
        print(f"{job.source}: not all blocks are there; the last worker joins them")
    return True


def _process(options: argparse.Namespace) -> tuple[int, int]:
    """This process's number and how many there are, after joining the others."""
    given = options.coordinator, options.hosts, options.host
    if options.distributed or given != (None, None, None) or hosts.expected():
        hosts.join(*given)
    return jax.process_index() + 1, jax.process_count()


class _Maps:
    """Makes the maps of a share, one after another, whatever goes wrong in one."""

    def __init__(
        self,
        predictor: Predictor,
        jobs: Sequence[Job],
        wanted: Wanted,
        options: argparse.Namespace,
        part: tuple[int, int],
        alone: bool,
    ) -> None:
        self.predictor, self.jobs, self.wanted = predictor, jobs, wanted
        self.options, self.alone = options, alone
        self.summary: tuple[Path, Path] | None = None
        self.rows: dict[str, Row] = {}
        if Path(options.out).suffix.lower() not in (".tif", ".tiff"):
            self.summary = summary_paths(Path(options.out), _numbered(part))
            self.rows = read_summary(self.summary, overwrite=options.overwrite)

    def make(self) -> int:
        """1 if a scene was left out."""
        # A map made with other options must stop the run now, not after hours.
        ready = [self._is_ready(job) for job in self.jobs]
        board = Board(ready.count(False))
        failed = 0
        try:
            for is_ready, job in zip(ready, self.jobs, strict=True):
                if is_ready:
                    print(f"{job.source}: already there, {job.target}")
                    self._note(job, THERE)
                else:
                    failed += not self._made(job, board)
        finally:
            if self.summary is not None and self.rows:
                write_summary(self.summary, self.rows.values())
        if failed:
            print(f"{failed} of {len(self.jobs)} scenes left out", file=sys.stderr)
        return 1 if failed else 0

    def _is_ready(self, job: Job) -> bool:
        own, overwrite = job.wanted(self.wanted), self.options.overwrite
        places = job.source, job.target
        try:
            return is_done(self.predictor, *places, own, overwrite=overwrite)
        except OSError:  # of this scene alone; its turn will tell
            return False

    def _made(self, job: Job, board: Board) -> bool:
        begin = time.perf_counter()
        try:
            with board.scene(job.source.name) as progress:
                made = predict_file(
                    self.predictor,
                    job.source,
                    job.target,
                    job.wanted(self.wanted),
                    progress,
                    overwrite=self.options.overwrite,
                )
        except Exception as error:
            if self.options.traceback:
                raise
            board.finish()
            reason = reason_of(error, job.source)
            if self.alone:
                raise ValueError(reason) from error
            self._note(job, LEFT_OUT, time.perf_counter() - begin, reason)
            print(f"left out: {terminal(reason, LINE)}", file=sys.stderr, flush=True)
            return False
        board.finish(made.pixels)
        self._note(job, MADE, made.seconds)
        _report(job.source, made, self.options.timing)
        if board.count > 1:
            print(f"  {board.pace()}", flush=True)
        return True

    def _note(
        self, job: Job, state: str, seconds: float = 0.0, reason: str = ""
    ) -> None:
        pixels = {} if state == LEFT_OUT else class_pixels(job.target)
        place, seconds = str(job.target), round(seconds, 3)
        self.rows[place] = Row(str(job.source), place, state, reason, seconds, pixels)


def _numbered(part: tuple[int, int]) -> tuple[int, int]:
    """Processes of one job write summaries of their own, too."""
    processes = jax.process_count()
    number = (part[0] - 1) * processes + jax.process_index() + 1
    return number, part[1] * processes


def reason_of(error: Exception, source: Source) -> str:
    """One line that begins with the scene, whatever a library raised for it."""
    text = str(error).strip() or type(error).__name__
    if not isinstance(error, ValueError | OSError):
        text = f"{type(error).__name__}: {text}"
    # An address may hold a key.
    text = " ".join(text.split()).replace(address_of(source), str(source))
    return text if str(source) in text else f"{source}: {text}"


def _report(source: Source, done: Done, timing: bool) -> None:
    speed = done.pixels / 1e6 / done.seconds
    names = ", ".join(str(path) for path in done.files if path.suffix != ".xml")
    print(f"{source}: {names} ({done.seconds:.1f} s, {speed:.2f} MP/s)", flush=True)
    if timing:
        read, write = done.waiting.read, done.waiting.write
        share = (read + write) / max(done.scoring, 1e-9)
        rest = done.seconds - done.scoring
        print(
            f"  scoring {done.scoring:.1f} s, of which waiting for files "
            f"{100 * share:.1f} % (read {read:.1f} s, write {write:.1f} s); "
            f"finishing {rest:.1f} s"
        )
