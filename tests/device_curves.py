"""Loss curves of one configuration on several device layouts; run by test_sharding.

    python tests/device_curves.py WORKDIR STEPS LAYOUT…

LAYOUT is DEVICES or DEVICES/FSDP, of the virtual CPU devices that XLA_FLAGS asks for.
WORKDIR/curves.json holds the losses, the bytes of frozen weights that a device holds,
and how often the step was compiled.
"""

import dataclasses
import json
import sys
from pathlib import Path

import jax
from absl import flags
from small_run import write_backbone
from tiny import get_config

from crossearth_jax import build, train
from crossearth_jax.run import setup
from crossearth_jax.system import sharding

flags.FLAGS.mark_as_parsed()


def measure(workdir: Path, steps: int, layout: str) -> dict:
    count, _, fsdp = layout.partition("/")
    config = get_config()
    config.train.batch_size = 8
    config.train.fsdp = int(fsdp or 1)
    # Choosing the most uncertain points turns rounding into jumps: all are random here.
    config.loss.importance = 0.0
    config.style.probability = 0.5
    config.backbone.trainable = False
    config.backbone.weights = str(workdir / "backbone.safetensors")
    mesh = sharding.make_mesh(config.train.fsdp, jax.devices()[: int(count)])
    run = dataclasses.replace(train.set_up(config), mesh=mesh)
    state = build.initial_state(run.network, run.optimiser, mesh)
    step_fn, frozen = setup.make_step(run)
    key = sharding.replicate(jax.random.key(0), mesh)
    losses = []
    for _, images in zip(range(steps), train.batches(run, 0), strict=False):
        batch = sharding.shard_batch(images, 8, mesh)
        state, metrics = step_fn(state, frozen, batch, key)
        losses.append(float(metrics["loss"]))
    first = [x.addressable_shards[0].data for x in jax.tree.leaves(frozen["model"])]
    return {
        "losses": losses,
        "frozen_bytes": sum(x.nbytes for x in first),
        "compilations": step_fn._cache_size(),
    }


def main() -> None:
    workdir, steps, *layouts = sys.argv[1:]
    workdir = Path(workdir)
    config = get_config()
    write_backbone(config, workdir / "backbone.safetensors")
    sharding.SMALL = 0  # the tiny model has no large weights
    curves = {layout: measure(workdir, int(steps), layout) for layout in layouts}
    (workdir / "curves.json").write_text(json.dumps(curves))


if __name__ == "__main__":
    main()
