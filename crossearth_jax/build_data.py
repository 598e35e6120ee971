"""Settings to what a run reads: records and styles."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import jax
import numpy as np
from absl import logging
from jaxtyping import Int

from crossearth_jax.data.check_files import check_headers
from crossearth_jax.data.check_labels import check_labels, class_pixels
from crossearth_jax.data.classes import ClassSet
from crossearth_jax.data.datasets import FolderSource, Role, ScoredDomain, Source
from crossearth_jax.data.folders import Pair, parse_domain, parse_domains
from crossearth_jax.data.infer import infer_classes
from crossearth_jax.data.known_classes import CASID, KNOWN_CLASSES
from crossearth_jax.data.order import EveryRecord, Order, counted, make_order
from crossearth_jax.data.packed import Packed
from crossearth_jax.data.root import check_prepared, fill_root
from crossearth_jax.data.synthetic.source import SyntheticSource, field_images
from crossearth_jax.data.tile_folder import with_raw
from crossearth_jax.earth_style.restyle import Restyling, load_pool, load_restyle
from crossearth_jax.hub.weights import find_weights
from crossearth_jax.paper.settings import CLIMATES
from crossearth_jax.run_settings import DataSettings, RunSettings, StyleSettings

POOL_SIZE = 64  # images and pixels a side; the stand-ins need no more


@dataclasses.dataclass(frozen=True)
class Data:
    """What a run reads.

    Attributes:
      classes: names and palette.
      train: training records.
      domains: what is scored, the source domain first.
      order: of the training records; None is each once in an epoch.
      pixels: of each class in each training label; None where labels are not counted.
    """

    classes: ClassSet
    train: Source
    domains: tuple[ScoredDomain, ...]
    order: Order | None = None
    pixels: Int[np.ndarray, "N K"] | None = None


def build_data(data: DataSettings) -> Data:
    """Sources of training and evaluation."""
    if data.kind == "synthetic":
        return _synthetic(data)
    if data.kind == "folder":
        return _folders(data)
    raise ValueError(f'got data.kind="{data.kind}", expected "folder" or "synthetic"')


def _synthetic(data: DataSettings) -> Data:
    """The embedded scenes: one climate trains, the others are unseen."""
    if data.climate not in CLIMATES:
        raise ValueError(
            f'got data.climate="{data.climate}", expected one of {", ".join(CLIMATES)}'
        )
    # Evaluation scenes are the same whatever the training seed.
    train = SyntheticSource(data.climate, data.train_scenes, seed=1 + data.seed)
    order = [data.climate, *(c for c in CLIMATES if c != data.climate)]
    domains = tuple(
        ScoredDomain(
            name,
            "source" if name == data.climate else "unseen",
            SyntheticSource(name, data.eval_scenes, seed=0),
        )
        for name in order
    )
    return Data(CASID, train, domains, _order(data, [len(train)], None))


def _folders(data: DataSettings) -> Data:
    if not data.train:
        raise ValueError(
            "got no training data, expected folders of images and labels: set "
            "--config.data.train=A/images:A/labels"
        )
    held_out: tuple[tuple[Role, str | None], ...] = (
        ("source", data.source),
        ("unseen", data.unseen),
    )
    given = [data.train, *(text for _, text in held_out if text)]
    check_prepared(given, data.root)
    suffix = data.label_suffix

    def known(pairs: tuple[Pair, ...]) -> tuple[Pair, ...]:
        return with_raw(pairs, data.raw, Path(data.root) if data.root else None)

    parts = parse_domain(fill_root(data.train, data.root)).find_parts(suffix)
    train = known(tuple(pair for part in parts for pair in part))
    scored: list[tuple[Role, str, tuple[Pair, ...]]] = [
        (role, domain.name, known(domain.find_pairs(suffix)))
        for role, text in held_out
        if text
        for domain in parse_domains(fill_root(text, data.root))
    ]
    warn_of_overlap(train, {name: pairs for _, name, pairs in scored})
    if data.check_headers:
        _check_headers(data, train, [pairs for _, _, pairs in scored])
    classes = _classes(data, [pair.label for pair in train])

    def source(pairs: tuple[Pair, ...]) -> FolderSource:
        return FolderSource(
            pairs,
            classes,
            data.encoding,
            data.on_corrupt,
            data.timeout_s,
            data.max_pixels,
            data.label_nodata,
        )

    records, others = source(train), [source(pairs) for _, _, pairs in scored]
    domains = [
        ScoredDomain(name, role, own, data.fit)
        for (role, name, _), own in zip(scored, others, strict=True)
    ]
    pixels = None
    if data.check_labels:
        found = check_labels(
            [records, *others],
            data.on_corrupt,
            host=jax.process_index(),
            host_count=jax.process_count(),
        )
        pixels = class_pixels(records, found)
    order = _order(data, [len(part) for part in parts], pixels)
    return Data(classes, records, tuple(domains), order, pixels)


def _check_headers(
    data: DataSettings, train: Sequence[Pair], scored: Sequence[Sequence[Pair]]
) -> None:
    every = [*train, *(pair for pairs in scored for pair in pairs)]
    limits = data.on_corrupt, data.timeout_s, data.max_pixels
    sizes = check_headers(every, *limits)
    if data.fit is None:
        seen = [sizes[pair.image] for pair in train if pair.image in sizes]
        warn_of_scale(data.scale_from, data.crop, seen)


def _order(
    data: DataSettings, sizes: Sequence[int], pixels: Int[np.ndarray, "N K"] | None
) -> Order | None:
    """Of training; None for the usual one."""
    order = make_order(
        sizes,
        pixels,
        balance=data.balance,
        rare_class_sampling=data.rare_class_sampling,
    )
    return None if isinstance(order, EveryRecord) else order


def weighted(settings: RunSettings, data: Data) -> RunSettings:
    """Settings whose class loss has the weights that `loss.class_weights` asks for.

    Raises:
      ValueError: they are not one for each class, or nobody counted the labels.
    """
    weights, names = settings.class_weights, data.classes.names
    if weights is None:
        return settings
    if isinstance(weights, str):
        weights = inverse_frequency(counted("loss.class_weights", data.pixels))
    if len(weights) != len(names):
        raise ValueError(
            f"got loss.class_weights of {len(weights)} numbers, expected {len(names)}, "
            f"one for each of {', '.join(names)}"
        )
    objective = settings.objective.weighted(weights)
    return dataclasses.replace(settings, objective=objective)


def inverse_frequency(pixels: Int[np.ndarray, "N K"]) -> tuple[float, ...]:
    """w_c = Σ_k n_k / (C n_c) over the C classes with n_c > 0 pixels; 1 for others.

    So a pixel has weight 1 in the mean, whatever the shares.
    """
    total = pixels.sum(0)
    present = total > 0
    mean = total.sum() / present.sum()
    return tuple(np.where(present, mean / np.maximum(total, 1), 1.0).tolist())


def _classes(data: DataSettings, labels: list[Path | Packed]) -> ClassSet:
    given = data.classes
    if given in KNOWN_CLASSES:
        return KNOWN_CLASSES[given]
    if given:
        return ClassSet.from_file(given)
    if data.encoding == "mask255":
        return ClassSet(("background", "foreground"), ((0, 0, 0), (255, 255, 255)))
    return infer_classes(labels, max_pixels=data.max_pixels)


def warn_of_overlap(
    train: Sequence[Pair], scored: Mapping[str, Sequence[Pair]]
) -> None:
    """Says so where a domain is scored with images that are trained on.

    Args:
      train: what is trained on.
      scored: by name of the domain.
    """
    known = {_place(pair) for pair in train}
    for name, pairs in scored.items():
        if both := [pair for pair in pairs if _place(pair) in known]:
            logging.warning(
                "domain %s is scored with %d of %d images that are trained on, such as "
                "%s: its scores say nothing about new images",
                *(name, len(both), len(pairs), both[0].image),
            )


def _place(pair: Pair) -> object:
    """The same for one image, however it is written."""
    return pair.image.absolute() if isinstance(pair.image, Path) else pair.image


def warn_of_scale(scale_from: str, crop: int, sizes: Sequence[tuple[int, int]]) -> None:
    """Says so where training sees large images much smaller than scoring does.

    Args:
      scale_from: `data.scale_from`.
      crop: side of a crop.
      sizes: (width, height) of the training images.
    """
    edge = max((min(size) for size in sizes), default=0)
    if scale_from == "shortest_edge" and edge > 2 * crop:
        logging.warning(
            "training images of up to %d pixels a side are resized to %d (times "
            "data.scales) in training, but scored as they are: objects are %.1f times "
            "larger in scoring; data.scale_from=native trains at the files' own scale",
            *(edge, crop, edge / crop),
        )


def build_restyle(style: StyleSettings | None) -> Restyling | None:
    """p_t or its stand-in; None where Earth-style injection is off."""
    if style is None:
        return None
    # Without a folder of field imagery the stand-ins take drawn scenes.
    if style.pool:
        pool = load_pool(style.pool, POOL_SIZE, POOL_SIZE)
    else:
        pool = field_images(POOL_SIZE, POOL_SIZE, seed=0)
    return load_restyle(
        style.transfer,
        weights=find_weights(style.weights) if style.weights else None,
        statistics=style.statistics,
        pool=pool,
        alpha=style.alpha,
    )
