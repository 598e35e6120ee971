"""`crossearth predict CHECKPOINT INPUT… --out DIR|FILE`: maps of real scenes."""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import jax
from rich.console import Console
from rich.progress import BarColumn, Progress, TimeRemainingColumn

from crossearth_jax.commands.errors import guarded
from crossearth_jax.commands.options import find_scenes
from crossearth_jax.commands.predict_jobs import Job, check_apart, plan_jobs
from crossearth_jax.commands.predict_options import predict_parser, wanted_of, words
from crossearth_jax.predict import geo
from crossearth_jax.predict.files import Done, predict_file
from crossearth_jax.predict.outputs import Wanted, is_done
from crossearth_jax.predict.predictor import Predictor, load
from crossearth_jax.system import hosts
from crossearth_jax.system.compiling import set_up_compiler
from crossearth_jax.system.escape import terminal


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
    scenes = find_scenes(options.inputs)
    jobs = plan_jobs(scenes, options.out, options.vector, options.keep_folders)
    wanted = wanted_of(options)
    check_apart(jobs, wanted)
    if options.distributed or options.coordinator or hosts.expected():
        hosts.join(options.coordinator, options.hosts, options.host)
    predictor = load(
        options.checkpoint,
        precision=options.precision,
        batch=options.batch,
        stride=options.stride,
        tta=words(options.tta),
    )
    share = jobs[jax.process_index() :: jax.process_count()]
    # A map made with other options must stop the run now, not after hours.
    ready = [_is_ready(predictor, job, wanted, options) for job in share]
    failed = 0
    for is_ready, job in zip(ready, share, strict=True):
        if is_ready:
            print(f"{job.source}: already there, {job.target}")
            continue
        try:
            _make(predictor, job, wanted, options)
        except Exception as error:
            if options.traceback:
                raise
            reason = reason_of(error, job.source)
            if len(jobs) == 1:
                raise ValueError(reason) from error
            failed += 1
            print(f"left out: {terminal(reason)}", file=sys.stderr, flush=True)
    if failed:
        print(f"{failed} of {len(share)} scenes left out", file=sys.stderr)
    return 1 if failed else 0


def _is_ready(
    predictor: Predictor, job: Job, wanted: Wanted, options: argparse.Namespace
) -> bool:
    own, overwrite = job.wanted(wanted), options.overwrite
    try:
        return is_done(predictor, job.source, job.target, own, overwrite=overwrite)
    except OSError:  # of this scene alone; its turn will tell
        return False


def _make(
    predictor: Predictor, job: Job, wanted: Wanted, options: argparse.Namespace
) -> None:
    with _progress(job.source.name) as progress:
        made = predict_file(
            predictor,
            job.source,
            job.target,
            job.wanted(wanted),
            progress,
            overwrite=options.overwrite,
        )
    _report(job.source, made, options.timing)


def reason_of(error: Exception, source: Path) -> str:
    """One line that begins with the scene, whatever a library raised for it."""
    text = str(error).strip() or type(error).__name__
    if not isinstance(error, ValueError | OSError):
        text = f"{type(error).__name__}: {text}"
    text = " ".join(text.split())
    return text if str(source) in text else f"{source}: {text}"


def _report(source: Path, done: Done, timing: bool) -> None:
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


@contextmanager
def _progress(name: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on a terminal, nothing elsewhere."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda rows, height: None
        return
    columns = "{task.description}", BarColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(name, total=None)
        yield lambda rows, height: bar.update(task, completed=rows, total=height)
