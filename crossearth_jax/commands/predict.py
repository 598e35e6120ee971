"""`crossearth predict CHECKPOINT INPUT… --out DIR|FILE`: maps of real scenes."""

import argparse
import functools
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax

from crossearth_jax.commands.errors import guarded
from crossearth_jax.commands.part import in_array, part_of, share_of
from crossearth_jax.commands.predict_as_trained import as_trained
from crossearth_jax.commands.predict_blocks import (
    blocks_of,
    check_joined,
    join_blocks,
)
from crossearth_jax.commands.predict_inputs import find_sources
from crossearth_jax.commands.predict_jobs import Job, check_apart, plan_jobs
from crossearth_jax.commands.predict_maps import Alone, Crew, Maps, reason_of
from crossearth_jax.commands.predict_options import predict_parser, wanted_of, words
from crossearth_jax.commands.predict_ray import RayCrew
from crossearth_jax.commands.predict_together import (
    check_scenes,
    together_of,
    write_together,
)
from crossearth_jax.predict import geo
from crossearth_jax.predict.outputs import Wanted
from crossearth_jax.predict.predictor import Predictor, load
from crossearth_jax.system import hosts
from crossearth_jax.system.compiling import set_up_compiler
from crossearth_jax.system.escape import LINE, terminal
from crossearth_jax.trust.judging import judge_of


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
    _check_ray(options)
    scenes = find_sources(options.inputs, options.asset)
    jobs = plan_jobs(scenes, options.out, options.vector, options.keep_folders)
    wanted = wanted_of(options)
    together = together_of(options)
    check_apart(jobs, wanted, together.files)
    check_scenes(together, jobs)
    scenes_and_parts = _with_parts(jobs, options)
    parts = [part for _, parts in scenes_and_parts for part in parts]
    process = _process(options)
    mine = share_of(share_of(parts, part), process)
    _tell_share(options, part, len(mine), len(parts))
    with _crew(options) as crew:
        trained = crew.predictor.reading.trained
        wanted = replace(wanted, reading=as_trained(wanted.reading, trained, options))
        for job, blocks in scenes_and_parts:
            if blocks != [job]:
                overwrite = options.overwrite
                check_joined(crew.predictor, job, wanted, overwrite=overwrite)
        # Processes of one job write summaries of their own, too.
        share = (part[0] - 1) * process[1] + process[0], part[1] * process[1]
        failed = Maps(mine, wanted, options, share, len(parts) == 1).make(crew)
        predictor = crew.predictor
    for job, blocks in scenes_and_parts:
        if blocks != [job] and not _join(predictor, job, blocks, wanted, options):
            failed = 1
    labels = [
        job.target if blocks == [job] else job.target.with_suffix(".vrt")
        for job, blocks in scenes_and_parts
    ]
    for line in write_together(together, labels, predictor.classes, share=share):
        print(terminal(line, LINE))
    return failed


@contextmanager
def _crew(options: argparse.Namespace) -> Iterator[Crew]:
    """This process with the run's weights, or Ray's workers, each with them."""
    ready = functools.partial(
        load_judged if options.trust else load,
        options.checkpoint,
        step=options.step,
        precision=options.precision,
        batch=options.batch,
        stride=options.stride,
        tta=words(options.tta),
        backbone=options.backbone,
        classes=options.classes,
        crop=options.crop,
        palette=options.palette,
    )
    how = {"overwrite": options.overwrite, "traceback": options.traceback}
    if options.ray is None:
        yield Alone(ready(), **how)
        return
    out = Path(options.out)
    beside = out.parent if out.suffix.lower() in (".tif", ".tiff") else out
    with RayCrew(options.ray, options.ray_workers, ready, beside, **how) as crew:
        yield crew


def load_judged(*given: Any, **settings: Any) -> Predictor:
    """As `predictor.load`, of a run that knows what to expect of itself."""
    predictor = load(*given, **settings)
    return replace(predictor, judge=judge_of(predictor))


def _tell_share(
    options: argparse.Namespace, part: tuple[int, int], mine: int, parts: int
) -> None:
    if options.part is not None:
        shown = f"part {part[0]} of {part[1]}: {mine} of {parts} scenes or blocks"
        print(shown, file=sys.stderr)
    elif in_array() and options.ray is None and parts > 1:
        print(
            f"this task of a job array maps all {parts} scenes: pass --part auto "
            "(Slurm) or --part /N (Kubernetes) to share them",
            file=sys.stderr,
        )


def _check_ray(options: argparse.Namespace) -> None:
    """Raises where scenes would be shared in two ways at once."""
    if options.ray is None:
        if options.ray_workers is not None:
            raise ValueError("got --ray-workers without --ray, expected both")
        return
    names = ("part", "coordinator", "hosts", "host")
    given = [name for name in names if getattr(options, name) is not None]
    given += ["distributed"] if options.distributed else []
    if given:
        raise ValueError(
            f"got --ray with --{given[0]}, expected one of them: Ray's workers share "
            "all scenes and blocks"
        )
    if hosts.expected():
        raise ValueError(
            "got --ray in one of several processes, expected one process that drives "
            "the cluster: start it without srun or mpirun"
        )


def _with_parts(
    jobs: Sequence[Job], options: argparse.Namespace
) -> list[tuple[Job, list[Job]]]:
    """Each scene and its blocks: itself alone where it is not cut."""
    if options.block is None:
        return [(job, [job]) for job in jobs]
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
    state = "not all blocks are there; the last worker joins them"
    if made:
        state = f"{', '.join(map(str, made))} over {len(blocks)} blocks"
    print(terminal(f"{job.source}: {state}", LINE))
    return True


def _process(options: argparse.Namespace) -> tuple[int, int]:
    """This process's number and how many there are, after joining the others."""
    if options.ray is not None:
        return 1, 1  # without a look at devices, which are the workers'
    given = options.coordinator, options.hosts, options.host
    if options.distributed or given != (None, None, None) or hosts.expected():
        hosts.join(*given)
    return jax.process_index() + 1, jax.process_count()
