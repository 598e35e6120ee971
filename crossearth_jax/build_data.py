"""Configuration to what a run reads: records, augmentation, windows, styles."""

import dataclasses
from pathlib import Path

from flax import nnx
from ml_collections import ConfigDict

from crossearth_jax.data.check_files import check_headers
from crossearth_jax.data.classes import ClassSet
from crossearth_jax.data.datasets import FolderSource, ScoredDomain, Source
from crossearth_jax.data.folders import parse_domain, parse_domains
from crossearth_jax.data.infer import infer_classes
from crossearth_jax.data.known_classes import CASID, KNOWN_CLASSES
from crossearth_jax.data.packed import Packed
from crossearth_jax.data.pipeline import Augment
from crossearth_jax.data.root import check_prepared, fill_root
from crossearth_jax.data.synthetic.source import CLIMATES, SyntheticSource, field_images
from crossearth_jax.earth_style.restyle import load_pool, load_restyle
from crossearth_jax.scoring.windows import Windows

POOL_SIZE = 64  # images and pixels a side; the stand-ins need no more


@dataclasses.dataclass(frozen=True)
class Data:
    """What a run reads.

    Attributes:
      classes: names and palette.
      train: training records.
      domains: what is scored, the source domain first.
    """

    classes: ClassSet
    train: Source
    domains: tuple[ScoredDomain, ...]


def build_data(config: ConfigDict) -> Data:
    """Sources of training and evaluation."""
    if config.data.kind == "synthetic":
        return _synthetic(config)
    if config.data.kind == "folder":
        return _folders(config)
    raise ValueError(
        f'got data.kind="{config.data.kind}", expected "folder" or "synthetic"'
    )


def _synthetic(config: ConfigDict) -> Data:
    """The embedded scenes: one climate trains, the others are unseen."""
    data, seed = config.data, config.train.seed
    if data.climate not in CLIMATES:
        raise ValueError(
            f'got data.climate="{data.climate}", expected one of {", ".join(CLIMATES)}'
        )
    # Evaluation scenes are the same whatever the training seed.
    train = SyntheticSource(data.climate, data.train_scenes, seed=1 + seed)
    order = [data.climate, *(c for c in CLIMATES if c != data.climate)]
    domains = tuple(
        ScoredDomain(
            name,
            "source" if name == data.climate else "unseen",
            SyntheticSource(name, data.eval_scenes, seed=0),
        )
        for name in order
    )
    return Data(CASID, train, domains)


def _folders(config: ConfigDict) -> Data:
    data = config.data
    if not data.train:
        raise ValueError(
            "got no training data, expected folders of images and labels: set "
            "--config.data.train=A/images:A/labels"
        )
    given = [data[key] for key in ("train", "source", "unseen") if data[key]]
    check_prepared(given, data.root)
    train = parse_domain(fill_root(data.train, data.root)).find_pairs()
    scored = [
        (role, domain.name, domain.find_pairs())
        for role in ("source", "unseen")
        if data[role]
        for domain in parse_domains(fill_root(data[role], data.root))
    ]
    if data.check_headers:
        held_out = [pair for _, _, pairs in scored for pair in pairs]
        check_headers([*train, *held_out], data.on_corrupt, data.timeout_s)
    classes = _classes(data.classes, [pair.label for pair in train], data.encoding)
    make = {
        "classes": classes,
        "encoding": data.encoding,
        "on_corrupt": data.on_corrupt,
        "timeout_s": data.timeout_s,
    }
    domains = [
        ScoredDomain(name, role, FolderSource(pairs, **make), config.eval.fit)
        for role, name, pairs in scored
    ]
    return Data(classes, FolderSource(train, **make), tuple(domains))


def _classes(
    given: str | None, labels: list[Path | Packed], encoding: str | None
) -> ClassSet:
    if given in KNOWN_CLASSES:
        return KNOWN_CLASSES[given]
    if given:
        return ClassSet.from_file(given)
    if encoding == "mask255":
        return ClassSet(("background", "foreground"), ((0, 0, 0), (255, 255, 255)))
    return infer_classes(labels)


def build_augment(config: ConfigDict) -> Augment:
    """Training augmentation."""
    data = config.data
    return Augment(
        crop=data.crop,
        ratios=tuple(data.scales),
        cat_max_ratio=data.cat_max_ratio,
        flip=data.flip,
        photometric=data.photometric,
    )


def build_windows(config: ConfigDict) -> Windows:
    """Windows of prediction."""
    crop = config.data.crop
    return Windows(
        crop=crop,
        stride=config.eval.stride or round(crop * 2 / 3),
        patch=2 * config.backbone.patch_size,
        batch=config.eval.batch,
    )


def build_restyle(config: ConfigDict) -> nnx.Module | None:
    """p_t or its stand-in; None where Earth-style injection is off."""
    style = config.style
    if style.probability == 0:
        return None
    # Without a folder of field imagery the stand-ins take drawn scenes.
    if style.pool:
        pool = load_pool(style.pool, POOL_SIZE, POOL_SIZE)
    else:
        pool = field_images(POOL_SIZE, POOL_SIZE, seed=0)
    return load_restyle(
        style.transfer,
        weights=style.weights,
        statistics=style.statistics,
        pool=pool,
        alpha=style.alpha,
    )
