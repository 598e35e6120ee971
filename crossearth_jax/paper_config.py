"""The paper's benchmark as configurations: what its 14 runs have in common."""

from collections.abc import Mapping

from ml_collections import ConfigDict

from crossearth_jax.config import default
from crossearth_jax.paper.settings import run_of


def benchmark(
    file: str, argument: str = "", *, classes: str, scored: str | Mapping[str, str]
) -> ConfigDict:
    """One training run: its domains, Table 14's masks, Section 5.1's losses.

    ",official" behind the argument takes the learning rate that the authors' code has
    at 1024² instead of the paper's.

    Args:
      file: name in `configs/`, e.g. "casid.py".
      argument: what stands behind the colon of `--config`.
      classes: the class set.
      scored: the split whose images are scored, or the one of each domain; a source
        that is not named is not scored.

    Raises:
      ValueError: the file takes no such argument; the message lists those it takes.
    """
    argument, _, recipe = argument.partition(",")
    if recipe not in ("", "official"):
        raise ValueError(f'got {file}:{argument},{recipe}, expected "official"')
    run = run_of(file, argument)
    if isinstance(scored, str):
        scored = dict.fromkeys((run.source, *run.unseen), scored)
    folders = {x: f"{x}={{root}}/{x}/{split}" for x, split in scored.items()}
    config = default()
    config.name = run.name
    config.data.classes, config.data.encoding = classes, "ids"
    config.data.train = f"{{root}}/{run.source}/train"
    config.data.source = folders.get(run.source)
    config.data.unseen = ",".join(folders[x] for x in run.unseen)
    config.data.crop = run.crop
    if run.crop > 512:
        config.backbone.remat = "auto"  # at 1024² four times as much would be kept
    config.mim.loss = run.mim_loss
    config.style.ratio, config.style.block = run.styled
    config.mim.ratio, config.mim.block = run.masked
    if recipe:
        config.optim.lr, config.optim.warmup_steps = 6e-5, 10_000
        config.optim.decay_steps = 40_000
        config.workdir = f"runs/{config.name}_official"
    return config
