"""Which domains are looked at: those of the run, and others."""

from collections.abc import Collection
from pathlib import Path

from crossearth_jax.build_data import build_data
from crossearth_jax.data.datasets import FolderSource, ScoredDomain
from crossearth_jax.data.folders import parse_domain
from crossearth_jax.data.root import fill_root
from crossearth_jax.data.tile_folder import with_raw
from crossearth_jax.features.plot import MARKERS
from crossearth_jax.run.trained import TrainedRun


def choose_domains(
    run: TrainedRun, text: str | None, encoding: str | None = None
) -> list[ScoredDomain]:
    """The domains of a run, or those that a text names.

    Args:
      run: its settings name what is scored; where it scores no part of the
        source domain, its training images replace it, as "training".
      text: comma-separated names of the run's domains and NAME=IMAGES:LABELS of
        others, see `folders.parse_domains`; None takes all of the run's.
      encoding: of the others' labels; None takes the run's.

    Raises:
      ValueError: there is no such domain, too many, or other classes in the data.
    """
    settings = run.settings.data
    data = build_data(settings)
    if len(data.classes.names) != len(run.classes.names):
        raise ValueError(
            f"got data of classes {', '.join(data.classes.names)}, expected those of "
            f"the run, {', '.join(run.classes.names)}: has the data changed?"
        )
    own = {domain.name: domain for domain in data.domains}
    if not any(domain.role == "source" for domain in own.values()):
        training = ScoredDomain("training", "source", data.train, settings.fit)
        own = {"training": training, **own}
    if text is None:
        return _drawable(list(own.values()))
    chosen, encoding = [], encoding or settings.encoding
    for group in _groups(text, own):
        if group in own:
            chosen.append(own[group])
            continue
        domain = parse_domain(fill_root(group, settings.root))
        root = Path(settings.root) if settings.root else None
        pairs = with_raw(domain.find_pairs(settings.label_suffix), settings.raw, root)
        source = FolderSource(pairs, data.classes, encoding)
        chosen.append(ScoredDomain(domain.name, "unseen", source, settings.fit))
    return _drawable(chosen)


def _groups(text: str, own: Collection[str]) -> list[str]:
    """A text cut at its commas, but for those within a domain of several folders."""
    groups: list[str] = []
    for part in text.split(","):
        if part.strip() in own or "=" in part:
            groups.append(part.strip())
        elif groups and "=" in groups[-1]:
            groups[-1] += f",{part}"
        else:
            raise ValueError(
                f"got domain {part}, expected one of {', '.join(own)}, or "
                "NAME=IMAGES:LABELS"
            )
    return groups


def _drawable(domains: list[ScoredDomain]) -> list[ScoredDomain]:
    names = [domain.name for domain in domains]
    if len(names) > len(MARKERS) or len(set(names)) < len(names):
        raise ValueError(
            f"got domains {', '.join(names)}, expected at most {len(MARKERS)}, no name "
            "twice: choose with --domains"
        )
    return domains
