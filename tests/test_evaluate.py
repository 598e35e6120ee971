import dataclasses
import json
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from outside import FIXTURES, needs_fixtures
from PIL import Image

from crossearth_jax.data.classes import ClassSet
from crossearth_jax.data.datasets import Record, ScoredDomain
from crossearth_jax.evaluate import evaluate
from crossearth_jax.pixels.normalise import normalise
from crossearth_jax.pixels.resample_host import fitted_size
from crossearth_jax.scoring.domain import evaluate_domain, label_scores
from crossearth_jax.scoring.windows import Windows

CLASSES = ClassSet(
    names=("field", "house", "water"),
    palette=((90, 160, 60), (200, 40, 40), (0, 0, 255)),
)
COLOURS = np.asarray(normalise(np.uint8(CLASSES.palette)[None]))[0]  # [K, 3]
WINDOWS = Windows(crop=32, stride=21, patch=16, batch=4)


@jax.jit
def by_colour(windows):
    """A model that is right wherever the image has the colour of its class."""
    return -jnp.square(windows[..., None, :] - COLOURS).sum(-1)


@dataclass
class Drawn:
    """Images in their classes' colours; some are unreadable, some partly wrong."""

    sizes: list
    broken: tuple = ()
    wrong_rows: int = 0
    labels: tuple = (0, 1)

    @property
    def names(self):
        return [f"image{i}" for i in range(len(self.sizes))]

    def fingerprint(self):
        return repr(self)

    def __len__(self):
        return len(self.sizes)

    def __getitem__(self, index):
        height, width = self.sizes[index]
        label = np.full((height, width), self.labels[0], np.uint8)
        label[:, width // 2 :] = self.labels[1]
        label[-1] = 255
        painted = np.where(label == 255, 0, label)
        painted[: self.wrong_rows] = self.labels[1]
        image = np.uint8(CLASSES.palette)[painted]
        valid = index not in self.broken
        return Record(image=image, label=label, name=self.names[index], valid=valid)


class Stray(Drawn):
    def __getitem__(self, index):
        image = np.zeros((32, 32, 3), np.uint8)
        label = np.full((32, 32), 9, np.uint8)
        return Record(image=image, label=label, name=self.names[index], valid=True)


def domain_result(source, *, fit=None, score_fn=by_colour, **options):
    domain = ScoredDomain("somewhere", "unseen", source, fit)
    return evaluate_domain(
        score_fn, domain, classes=CLASSES, windows=WINDOWS, **options
    )


def test_one_confusion_matrix_over_all_images():
    result = domain_result(Drawn([(40, 60), (32, 32), (20, 50)], wrong_rows=5))
    left = 30 + 16 + 25
    counted = 39 * 60 + 31 * 32 + 19 * 50
    expected = [
        [counted // 2 - 5 * left, 5 * left, 0],
        [0, counted // 2, 0],
        [0, 0, 0],
    ]
    np.testing.assert_array_equal(result.confusion, expected)
    assert (result.images, result.skipped) == (3, ())


def test_unreadable_images_are_skipped_counted_and_named():
    result = domain_result(Drawn([(32, 32)] * 5, broken=(0, 3)))
    assert result.images == 3
    assert result.skipped == ("image0", "image3")
    assert result.confusion.sum() == 3 * 31 * 32


def test_examples_are_evenly_spaced():
    result = domain_result(Drawn([(16, 16)] * 11), examples=3)
    assert [e.name for e in result.examples] == ["image0", "image5", "image10"]
    few = domain_result(Drawn([(16, 16)] * 2), examples=4)
    assert [e.name for e in few.examples] == ["image0", "image1"]
    example = few.examples[0]
    np.testing.assert_array_equal(example.prediction[:-1], example.truth[:-1])


def test_fitted_images_are_scored_at_the_size_of_their_label():
    seen = []

    def score_fn(windows):
        seen.append(windows.shape[1:3])
        return by_colour(windows)

    result = domain_result(Drawn([(64, 96)] * 2), fit=48, score_fn=score_fn)
    assert set(seen) == {(32, 32)}  # 32 x 48: two windows each, not the ten of 64 x 96
    assert len(seen) == 1
    assert result.confusion.sum() == 2 * 63 * 96
    right = np.diag(result.confusion).sum()
    assert right / result.confusion.sum() > 0.97
    (example, _) = result.examples
    assert example.image.shape == (64, 96, 3)  # the picture shows what was on disk


@pytest.mark.parametrize(
    ("size", "fitted"),
    [
        ((3000, 4000), (384, 512)),  # RescueNet
        ((4000, 3000), (512, 384)),
        ((512, 512), (512, 512)),
        ((300, 200), (512, 341)),  # enlarged; 341.33
        ((5, 1024), (3, 512)),  # 2.5 rounds up
        ((1, 4096), (1, 512)),
    ],
)
def test_the_longest_edge_fits_and_the_ratio_is_kept(size, fitted):
    """The rule of mmcv's imrescale, which mmsegmentation's Resize calls."""
    assert fitted_size(*size, 512) == fitted


@needs_fixtures("slide.npz")
def test_resize_to_the_label_as_the_authors():
    recorded = np.load(FIXTURES / "slide.npz")
    logits = recorded["S64/logits"][0].transpose(1, 2, 0)
    got = label_scores(logits, (225, 165), 5).argmax(2)
    theirs = recorded["S64/predict_argmax"][0]
    top = np.sort(recorded["S64/predict_logits"], axis=0)
    clear = top[-1] - top[-2] > 1e-5
    np.testing.assert_array_equal(got[clear], theirs[clear])
    assert clear.mean() > 0.999


def test_report_and_pictures_are_written(tmp_path):
    domains = [
        ScoredDomain("home", "source", Drawn([(32, 32)] * 3)),
        ScoredDomain("away", "unseen", Drawn([(40, 60)] * 2, wrong_rows=8)),
        ScoredDomain("far", "unseen", Drawn([(32, 32)], labels=(2, 1), broken=())),
    ]
    report = evaluate(
        by_colour,
        domains,
        classes=CLASSES,
        workdir=tmp_path,
        about={"step": 7},
        windows=WINDOWS,
    )
    assert json.loads((tmp_path / "report.json").read_text()) == report
    assert list(report["domains"]) == ["home", "away", "far"]
    home, away, far = report["domains"].values()
    assert (home["role"], home["mIoU"], home["images"]) == ("source", 1.0, 3)
    assert home["mF1"] == home["overall_accuracy"] == 1.0
    assert not {"foreground_IoU", "mIoU_without_clutter"} & home.keys()
    assert home["IoU"] == {"field": 1.0, "house": 1.0, "water": None}
    assert away["IoU"]["field"] == pytest.approx(31 / 39)
    assert far["IoU"] == {"field": None, "house": 1.0, "water": 1.0}
    mean = (away["mIoU"] + far["mIoU"]) / 2
    assert report["unseen_mean_mIoU"] == pytest.approx(mean)
    assert report["about"] == {"step": 7}
    assert np.sum(away["confusion"]) == 2 * 39 * 60
    written = sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*.*"))
    counts = [f"counts/{name}.npz" for name in ("away", "far", "home")]
    pictures = [f"pictures/{name}.png" for name in ("away", "far", "home")]
    assert written == [*counts, *pictures, "report.json"]
    for picture in pictures:
        Image.open(tmp_path / picture).verify()


def test_a_class_set_says_what_else_is_scored(tmp_path):
    """Foreground and clutter are data of the classes, whatever their names."""
    domains = [ScoredDomain("away", "unseen", Drawn([(40, 60)] * 2, wrong_rows=8))]
    reports = [
        evaluate(by_colour, domains, classes=classes, workdir=tmp_path, windows=WINDOWS)
        for classes in (
            dataclasses.replace(CLASSES, foreground=1),
            dataclasses.replace(CLASSES, clutter=1),
        )
    ]
    one, two = (report["domains"]["away"] for report in reports)
    assert one["foreground_IoU"] == one["IoU"]["house"] == pytest.approx(39 / 47)
    assert two["mIoU_without_clutter"] == two["IoU"]["field"] == pytest.approx(31 / 39)
    assert one["IoU"] == two["IoU"] and one["mIoU"] == two["mIoU"]
    assert "mIoU_without_clutter" not in one and "foreground_IoU" not in two


def test_without_unseen_domains_their_mean_is_null(tmp_path):
    domains = [ScoredDomain("home", "source", Drawn([(32, 32)]))]
    report = evaluate(
        by_colour, domains, classes=CLASSES, workdir=tmp_path, windows=WINDOWS
    )
    assert report["unseen_mean_mIoU"] is None


def test_a_domain_without_one_readable_image_is_null(tmp_path):
    domains = [ScoredDomain("away", "unseen", Drawn([(32, 32)], broken=(0,)))]
    report = evaluate(
        by_colour, domains, classes=CLASSES, workdir=tmp_path, windows=WINDOWS
    )
    assert report["domains"]["away"]["mIoU"] is None
    assert report["unseen_mean_mIoU"] is None
    assert report["domains"]["away"]["skipped"] == ["image0"]


def test_a_failure_leaves_the_old_report(tmp_path):
    (tmp_path / "report.json").write_text("old")
    domains = [ScoredDomain("away", "unseen", Stray([(32, 32)]))]
    with pytest.raises(ValueError, match=r"away, image0: got label values \[9\]"):
        evaluate(by_colour, domains, classes=CLASSES, workdir=tmp_path, windows=WINDOWS)
    assert (tmp_path / "report.json").read_text() == "old"
    assert not list(tmp_path.rglob("*.tmp"))


@pytest.mark.parametrize(
    ("names", "message"),
    [([], "at least one"), (["a", "a"], "no name twice"), (["a/b"], "plain file name")],
)
def test_bad_domain_names_are_refused(tmp_path, names, message):
    domains = [ScoredDomain(name, "unseen", Drawn([(16, 16)])) for name in names]
    with pytest.raises(ValueError, match=message):
        evaluate(by_colour, domains, classes=CLASSES, workdir=tmp_path, windows=WINDOWS)


def test_bad_scores_and_empty_sources_are_refused():
    source = Drawn([(32, 32)])
    with pytest.raises(ValueError, match="got no images in domain 'somewhere'"):
        domain_result(Drawn([]))
    with pytest.raises(ValueError, match="2 classes, expected 3"):
        domain_result(source, score_fn=lambda w: by_colour(w)[..., :2])
    with pytest.raises(ValueError, match="not finite"):
        domain_result(source, score_fn=lambda w: by_colour(w) * jnp.nan)


def test_a_reader_that_raises_stops_the_run():
    class Failing(Drawn):
        def __getitem__(self, index):
            raise ValueError("broken.png: truncated")

    with pytest.raises(ValueError, match="truncated"):
        domain_result(Failing([(32, 32)] * 20))
