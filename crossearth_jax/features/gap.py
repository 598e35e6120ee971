"""How far domains lie apart in the features, and how well classes do."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from types import ModuleType

import numpy as np
from jaxtyping import Float, Float64, Int

from crossearth_jax.features.sample import Sample
from crossearth_jax.system import extras

FOLDS = 5


@dataclass(frozen=True)
class Gap:
    """Two domains, or two halves of one, compared.

    Attributes:
      first: domain.
      second: domain; the same for two random halves of its images.
      tokens: of each of the two: as many of every class in both.
      frechet: squared Fréchet distance as a share of the variance of all features.
      proxy_a: proxy-A-distance, 0 (not to be told apart) to 2; below 0 by chance.
    """

    first: str
    second: str
    tokens: int
    frechet: float | None
    proxy_a: float | None


def needed(name: str) -> ModuleType:
    """Imports a module of the extra `umap`.

    Raises:
      ImportError: the library is not installed; tells how to get it.
    """
    return extras.needed(name, "UMAP and domain gaps", "umap")


def domain_gaps(samples: Sequence[Sample], seed: int) -> list[Gap]:
    """Each domain in two halves, the floor of what differs, and every pair."""
    pairs = [_halves(sample, seed) for sample in samples]
    pairs += list(combinations(samples, 2))
    total = np.concatenate([s.features for s in samples]).var(0, dtype=np.float64).sum()
    return [_gap(a, b, float(total), seed) for a, b in pairs]


def _halves(sample: Sample, seed: int) -> tuple[Sample, Sample]:
    """The tokens of one half of the images, drawn at random, and the others."""
    images = np.unique(sample.images)
    chosen = np.random.default_rng(seed).permutation(images)[: len(images) // 2]
    first = np.isin(sample.images, chosen)
    return sample.part(np.flatnonzero(first)), sample.part(np.flatnonzero(~first))


def _gap(first: Sample, second: Sample, total: float, seed: int) -> Gap:
    a, b = matched(first, second)
    names = first.domain, second.domain
    if len(a.classes) < 2:
        return Gap(*names, len(a.classes), None, None)
    distance = frechet(a.features, b.features) / max(total, np.finfo(float).tiny)
    return Gap(*names, len(a.classes), distance, proxy_a(a, b, seed))


def matched(first: Sample, second: Sample) -> tuple[Sample, Sample]:
    """As many tokens of each class from both, so that class shares are not a gap."""
    places: tuple[list, list] = [], []
    for k in np.intersect1d(first.classes, second.classes):
        both = [np.flatnonzero(s.classes == k) for s in (first, second)]
        count = min(map(len, both))  # samples are in random order
        for chosen, one in zip(places, both, strict=True):
            chosen.append(one[:count])
    empty = [np.zeros(0, np.int64)]
    a, b = (np.sort(np.concatenate(empty + chosen)) for chosen in places)
    return first.part(a), second.part(b)


def frechet(a: Float[np.ndarray, "n d"], b: Float[np.ndarray, "m d"]) -> float:
    """Squared Fréchet distance of the normal distributions that fit the features.

    As `frechet_of_moments` of their means and covariances.
    """
    a, b = a.astype(np.float64), b.astype(np.float64)
    covariances = (np.atleast_2d(np.cov(x, rowvar=False)) for x in (a, b))
    cov_a, cov_b = covariances
    return frechet_of_moments(a.mean(0), cov_a, b.mean(0), cov_b)


def frechet_of_moments(
    mean_a: Float64[np.ndarray, "d"],
    cov_a: Float64[np.ndarray, "d d"],
    mean_b: Float64[np.ndarray, "d"],
    cov_b: Float64[np.ndarray, "d d"],
) -> float:
    """Squared Fréchet distance of two normal distributions.

    d² = |μ_a - μ_b|² + tr(C_a + C_b - 2 (C_a^½ C_b C_a^½)^½)
    """
    values, vectors = np.linalg.eigh(cov_a)
    root = (vectors * np.sqrt(values.clip(min=0))) @ vectors.T
    inner = np.linalg.eigvalsh(root @ cov_b @ root).clip(min=0)
    means = np.square(mean_a - mean_b).sum()
    traces = np.trace(cov_a) + np.trace(cov_b)
    return float(means + traces - 2 * np.sqrt(inner).sum())


def proxy_a(a: Sample, b: Sample, seed: int) -> float | None:
    """2 (1 - 2ε), ε the error of a linear classifier that tells two domains apart.

    Cross-validated, with all tokens of an image in one fold: neighbours look alike,
    and a classifier that knows an image would need to know no domain.

    Returns:
      None where their images are too few for folds.
    """
    needed("sklearn")
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    folds = min(FOLDS, *(len(np.unique(s.images)) for s in (a, b)))
    if folds < 2:
        return None
    features = np.concatenate([a.features, b.features]).astype(np.float64)
    truth = np.repeat([0, 1], [len(a.classes), len(b.classes)])
    groups = np.concatenate([a.images, b.images + a.images.max() + 1])
    split = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    splits = list(split.split(features, truth, groups))
    if any(len(np.unique(truth[train])) < 2 for train, _ in splits):
        return None
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    guess = cross_val_predict(classifier, features, truth, cv=splits)
    return float(2 * (1 - 2 * np.mean(guess != truth)))


def silhouettes(
    features: Float[np.ndarray, "n d"],
    classes: Int[np.ndarray, "n"],
    domains: Int[np.ndarray, "n"],
    names: Sequence[str],
) -> Mapping[str, float | None]:
    """Silhouette between classes, -1 to 1: over all domains, and in each.

    Returns:
      By domain, and "all"; None where there are not two classes.
    """
    found = {"all": _silhouette(features, classes)}
    for i, name in enumerate(names):
        inside = domains == i
        found[name] = _silhouette(features[inside], classes[inside])
    return found


def _silhouette(
    features: Float[np.ndarray, "n d"], classes: Int[np.ndarray, "n"]
) -> float | None:
    kinds = len(np.unique(classes))
    if not 2 <= kinds < len(classes):
        return None
    return float(needed("sklearn.metrics").silhouette_score(features, classes))
