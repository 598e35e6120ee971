"""The HTML report: complete in itself, small, and usable in a browser."""

import base64
import hashlib
import html
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from crossearth_jax.data.classes import ClassSet
from crossearth_jax.report.charts import line_chart
from crossearth_jax.report.curves import curves
from crossearth_jax.report.errors import confusions
from crossearth_jax.report.examples import Shown
from crossearth_jax.report.experiments import Experiment
from crossearth_jax.report.page import RunView, page
from crossearth_jax.report.sheet import Line, Sheet
from crossearth_jax.scoring.counts import Confidence, DomainCounts, ImageCounts
from crossearth_jax.scoring.domain import Example
from crossearth_jax.scoring.metrics import confusion_matrix

CLASSES = ClassSet(("field", "<house>"), ((90, 160, 60), (200, 40, 40)))


def domain(images, seed=0):
    """Images of which the later ones are worse, and what the report says of them."""
    rng = np.random.default_rng(seed)
    kept, total = [], np.zeros((2, 2), np.int64)
    for place in range(images):
        truth = rng.integers(0, 2, (8, 8)).astype(np.uint8)
        wrong = rng.random((8, 8)) < 0.4 * place / images
        matrix = confusion_matrix(truth, np.where(wrong, 1 - truth, truth), 2)
        kept.append(ImageCounts.of(place, f"image {place}", matrix))
        total += matrix
    share = dict(zip(CLASSES.names, (0.5, None), strict=True))
    entry = {"role": "unseen", "mIoU": 0.5, "mF1": 0.6, "overall_accuracy": 0.7}
    entry |= {"IoU": share, "images": images, "confusion": total.tolist()}
    bins = Confidence(np.arange(20), np.arange(20) // 2, np.arange(20) * 0.5)
    return DomainCounts(2, tuple(kept), bins), entry


def shown(name, side=64):
    rng = np.random.default_rng(1)
    truth = np.kron(rng.integers(0, 2, (4, 4)), np.ones((side // 4, side // 4)))
    truth = truth.astype(np.uint8)
    prediction = np.roll(truth, 5, axis=1)
    truth[:4] = 255
    image = rng.integers(0, 256, (side, side, 3)).astype(np.uint8)
    return Shown("far", Example(name, image, truth, prediction), "worst", 0.25)


def view(images=6, missing=()):
    counts, entry = domain(images)
    report = {"classes": list(CLASSES.names), "domains": {"far": entry}}
    config = {"name": "folder", "train.seed": 1}
    picture = shown("a & b.png")
    return RunView(
        experiment=Experiment(Path("runs/x"), config, report),
        classes=CLASSES,
        counts={"far": counts},
        shown={"far": [picture] * 3},
        costly=[picture] * 10,
        views={"X": picture.example.image},
        metrics=[{"step": i, "loss": 9.0 / i, "bad": 0.0} for i in range(1, 5)],
        provenance=[{"seed": 1}],
        missing=missing,
    )


class Balanced(HTMLParser):
    """Checks that what is opened is closed, in order."""

    VOID = frozenset({"meta", "img", "input", "br"})

    def __init__(self):
        super().__init__()
        self.open = []

    def handle_starttag(self, tag, attrs):
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in ("path", "circle", "rect"):  # closed where they open
            assert self.open.pop() == tag


def test_page_is_whole_and_needs_no_network():
    text = "".join(page([view(missing=["<maps>"])], []))
    parser = Balanced()
    parser.feed(re.sub(r"<(path|circle|rect)[^>]*/>", "", text))
    assert parser.open == []
    assert "http" not in text.replace("http://www.w3.org", "").replace("http-equiv", "")
    assert not re.search(r'(src|href)="(?!data:|#)', text)
    assert "<house>" not in text and "&lt;house&gt;" in text  # names are escaped
    assert "a &amp; b.png" in text and "&lt;maps&gt;" in text
    assert html.escape('"train.seed": 1') in text


def test_two_runs_have_boxes_of_their_own():
    text = "".join(page([view(), view()], []))
    ids = re.findall(r' id="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    for box in ("r0k0", "r1k1"):
        assert f'id="{box}"' in text and f'class="{box}"' in text


def test_size_does_not_grow_with_the_number_of_images():
    few, many = ("".join(page([view(images)], [])) for images in (50, 5000))
    assert len(many) < 1.05 * len(few) < 30e6


def test_confusions_are_named_with_their_share():
    matrix = np.array([[90, 10, 0], [0, 100, 0], [40, 1, 59]])
    first, second = confusions("trf", matrix, ["water", "road", "forest"])
    assert str(first) == "In trf, 40 % of forest was called water."
    assert (second.truth, second.found, second.pixels) == ("water", "road", 10)


def test_a_value_that_is_no_number_leaves_a_gap():
    values = [1.0, 2.0, float("nan"), 2.0, 1.0]
    drawn = line_chart("loss", range(5), {"loss": values}, "step")
    (line,) = re.findall(r'class="line line-0" d="([^"]+)"', drawn)
    assert line.count("M") == 2 and "nan" not in line


@pytest.mark.parametrize("value", [10**400, "much", None, [1], float("inf"), -1e308])
def test_what_no_training_logs_leaves_a_gap(value):
    lines = [{"step": 1, "loss": 1.0}, {"step": 2, "loss": value}]
    lines += [{"step": 10**400, "loss": 3.0}, {"step": -1, "loss": 3.0}]
    (line,) = re.findall(r'class="line line-0" d="([^"]*)"', curves(lines))
    assert line.count("M") == 1 and "L" not in line


def test_scores_while_training_have_curves_over_their_own_steps():
    metrics = [{"step": i, "loss": 1.0 * i} for i in range(1, 5)]
    metrics[1] |= {"far/mIoU": 0.25, "far/IoU/field": 0.5}
    metrics[3] |= {"far/mIoU": 0.75, "far/IoU/field": 0.5}
    text = "".join(page([replace(view(), metrics=metrics)], []))
    (curve,) = re.findall(r"far/mIoU by step</title>.*?</svg>", text)
    (line,) = re.findall(r'class="line line-0" d="([^"]+)"', curve)
    assert line.count("M") == line.count("L") == 1  # two points, joined
    assert "loss by step" in text and "far/IoU/field by step" not in text


def test_a_figure_stands_before_the_tables():
    text = "".join(page([view()], [hostile_sheet()], '<svg class="dots"></svg>'))
    assert text.index('<svg class="dots">') < text.index("&lt;svg onload")
    assert "at a glance" not in "".join(page([view()], [hostile_sheet()]))


def links(text):
    """Anchors of each navigation."""
    found = re.findall(r"<nav[^>]*>(.*?)</nav>", text)
    return [re.findall(r'href="#([^"]+)"', one) for one in found]


def test_the_navigation_lists_every_section_in_order():
    text = "".join(page([view()], [hostile_sheet()]))
    (found,) = links(text)
    assert found == re.findall(r'class="part" id="([^"]+)"', text)
    assert found == [
        *("summary0", "scores0", "compared", "errors0", "domains0"),
        *("calibration0", "training0", "inputs0", "origin0"),
    ]


def test_of_several_runs_each_has_its_own_navigation():
    first, *each = links("".join(page([view(), view()], [hostile_sheet()])))
    assert first == ["compared", "run0", "run1"]
    assert [one[0] for one in each] == ["summary0", "summary1"]


def test_what_a_run_has_not_is_not_in_the_navigation():
    empty = replace(view(), counts={"far": None}, views={}, metrics=[])
    (found,) = links("".join(page([empty], [])))
    assert found == ["summary0", "scores0", "errors0", "domains0", "origin0"]


def test_colours_that_look_alike_are_named_with_the_remedy():
    alike = replace(
        view(), classes=ClassSet(CLASSES.names, ((255, 255, 0), (85, 255, 0)))
    )
    text = "".join(page([alike], []))
    assert "field and &lt;house&gt; look much alike" in text
    other = replace(alike, classes=replace(CLASSES, palette=((0, 0, 0), (255, 255, 0))))
    assert "look much alike" not in "".join(page([other], []))


def test_the_policy_holds_the_page_s_own_style_and_script():
    text = "".join(page([view()], []))
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]+)"', text)
    for tag, rule in (("style", "style-src"), ("script", "script-src")):
        (content,) = re.findall(f"<{tag}>(.*?)</{tag}>", text, re.S)
        digest = hashlib.sha256(content.encode()).digest()
        assert f"{rule} 'sha256-{base64.b64encode(digest).decode()}'" in policy
    assert "default-src 'none'" in policy and "unsafe-inline" not in policy.replace(
        "style-src-attr 'unsafe-inline'", ""
    )


SCRIPT = "<script>window.PWNED=9</script><img src=x onerror=window.PWNED=9>"
AWAY = """"'><img src="http://example.org/a.png"><link rel=stylesheet href=//a.org>"""
HOSTILE = f"{SCRIPT}{AWAY}</style></script></title><svg onload=window.PWNED=9>"


def hostile_view():
    """A run all of whose texts want to be markup, with names of 500 characters."""
    good, names = view(), (f"{HOSTILE}{'x' * 400}", f"{'y' * 500}{HOSTILE}")
    (entry,) = good.experiment.report["domains"].values()
    share = dict(zip(names, (0.5, None), strict=True))
    entry = {**entry, "role": HOSTILE, "IoU": share}
    report = {"classes": list(names), "domains": {HOSTILE: entry}}
    config = {"name": HOSTILE, HOSTILE: [HOSTILE]}
    picture = replace(shown(HOSTILE), domain=HOSTILE, why=HOSTILE)
    return RunView(
        experiment=Experiment(Path(f"runs/{HOSTILE}"), config, report),
        classes=ClassSet(names, CLASSES.palette),
        counts={HOSTILE: good.counts["far"]},
        shown={HOSTILE: [picture]},
        costly=[picture],
        views={HOSTILE: picture.example.image},
        metrics=[{"step": i, HOSTILE: 1.0 / i} for i in range(1, 5)],
        provenance=[{HOSTILE: HOSTILE}],
        missing=[HOSTILE],
    )


def hostile_sheet():
    return Sheet(
        HOSTILE, (HOSTILE,), (Line(HOSTILE, HOSTILE, (None,), HOSTILE),), (HOSTILE,)
    )


# ---- in a browser -------------------------------------------------------------------

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
QUIET = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update"),
    "--disable-sync",
]


@pytest.fixture(scope="module")
def browser():
    api = pytest.importorskip("playwright.sync_api", reason="playwright is missing")
    if CHROMIUM is None:
        pytest.skip("no browser: install chromium (apt-get install chromium)")
    with api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield running
        running.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    place = tmp_path_factory.mktemp("page") / "report.html"
    place.write_text("".join(page([view()], [])), encoding="utf-8")
    return place.as_uri()


@pytest.mark.slow
@pytest.mark.parametrize("width", [1200, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_slider_and_boxes_work(browser, address, width, scheme):
    context = browser.new_context(
        viewport={"width": width, "height": 800}, color_scheme=scheme
    )
    tab, said, asked = context.new_page(), [], []
    tab.on("console", lambda message: said.append(message.text))
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.on("request", lambda request: asked.append(request.url))
    tab.goto(address)
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")

    views = tab.locator(".example .view")
    covered = "e => getComputedStyle(e).clipPath"
    _, truth, prediction, error = (views.nth(i) for i in range(4))
    slider = tab.locator(".example input[type=range]").first
    assert slider.get_attribute("aria-valuetext") == "prediction"  # opens on it
    assert "100%" not in prediction.evaluate(covered)
    assert "100%" in error.evaluate(covered)
    slider.focus()
    for _ in range(30):
        tab.keyboard.press("ArrowLeft")
    assert "50%" in truth.evaluate(covered)
    assert "truth" in slider.get_attribute("aria-valuetext")
    tab.locator(".example button").nth(3).click()
    assert slider.get_attribute("aria-valuetext") == "error"
    tab.locator(".all button").first.click()
    sliders = tab.locator("input[type=range]")
    assert sliders.evaluate_all("all => all.every(e => e.value === '0')")

    layer = tab.locator("img.r0k1").first
    visibility = "e => getComputedStyle(e).visibility"
    assert layer.evaluate(visibility) == "visible"
    tab.locator("#r0k1").uncheck()
    assert layer.evaluate(visibility) == "hidden"
    assert not said
    assert not [url for url in asked if not url.startswith(("file:", "data:"))]
    context.close()


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("runs", [1, 2])
def test_hostile_texts_stay_text(browser, tmp_path, width, runs):
    place = tmp_path / "report.html"
    views = [hostile_view() for _ in range(runs)]
    place.write_text("".join(page(views, [hostile_sheet()])), encoding="utf-8")
    context = browser.new_context(viewport={"width": width, "height": 800})
    tab, asked = context.new_page(), []
    tab.on("request", lambda request: asked.append(request.url))
    tab.goto(place.as_uri())
    tab.locator("details").first.click()
    assert tab.evaluate("window.PWNED") is None
    assert tab.locator("script").count() == 1
    assert tab.locator("link").count() == tab.locator("svg[onload]").count() == 0
    assert not [url for url in asked if not url.startswith(("file:", "data:"))]
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert "<script>window.PWNED" in tab.locator("main").inner_text()
    context.close()


@pytest.mark.slow
def test_a_script_that_got_in_would_not_run(browser, tmp_path):
    """The policy is a second wall: markup that no escape caught."""
    place = tmp_path / "report.html"
    text = "".join(page([view()], [])).replace("<main>", f"<main>{SCRIPT}{AWAY}")
    place.write_text(text, encoding="utf-8")
    context = browser.new_context()
    tab, said = context.new_page(), []
    tab.on("console", lambda message: said.append(message.text))
    tab.goto(place.as_uri())
    assert tab.evaluate("window.PWNED") is None
    refused = " ".join(said)
    assert "script" in refused and "example.org/a.png" in refused
    context.close()


@pytest.mark.slow
def test_without_a_script_all_views_stand_side_by_side(browser, address):
    context = browser.new_context(java_script_enabled=False)
    tab = context.new_page()
    tab.goto(address)
    views = tab.locator(".example").first.locator(".view")
    boxes = [views.nth(i).bounding_box() for i in range(4)]
    assert len({box["x"] for box in boxes}) == 4
    assert not tab.locator(".example .slider").first.is_visible()
    layer = tab.locator("img.r0k1").first
    tab.locator("#r0k1").uncheck()
    assert not layer.is_visible()
    context.close()


def wide_view():
    """A run of twenty classes with names as long as real ones."""
    names = tuple(f"class {i} cultivated land" for i in range(20))
    palette = tuple((12 * i, 255 - 12 * i, 99) for i in range(20))
    good = view()
    (entry,) = good.experiment.report["domains"].values()
    matrix = np.full((20, 20), 12345).tolist()
    entry = {**entry, "IoU": dict.fromkeys(names, 0.987), "confusion": matrix}
    report = {"classes": list(names), "domains": {"far": entry}}
    experiment = replace(good.experiment, report=report)
    return replace(good, experiment=experiment, classes=ClassSet(names, palette))


WIDEST = "Math.max(...[...document.querySelectorAll('table')].map(t => t.scrollWidth))"
# What keeps an example from ending a page: nothing that ends it may forbid a break.
GLUED = """e => { let all = [];
  for (let x = e; x; x = x.lastElementChild) all.push(getComputedStyle(x).breakAfter);
  return all.filter(a => a !== "auto") }"""


@pytest.mark.slow
@pytest.mark.parametrize("made", [view, wide_view])
def test_on_paper_four_panels_stand_beside_each_other(browser, tmp_path, made):
    place = tmp_path / "report.html"
    place.write_text("".join(page([made()], [])), encoding="utf-8")
    inside = 680  # pixels between A4's margins
    context = browser.new_context(
        viewport={"width": inside, "height": 1000}, color_scheme="dark"
    )
    tab = context.new_page()
    tab.goto(place.as_uri())
    tab.emulate_media(media="print", color_scheme="dark")
    example = tab.locator(".example").first
    boxes = [example.locator(".view").nth(i).bounding_box() for i in range(4)]
    assert len({round(box["y"]) for box in boxes}) == 1
    assert len({round(box["width"]) for box in boxes}) == 1
    assert example.locator("figcaption").all_inner_texts() == [
        *("image", "truth", "prediction", "error")
    ]
    seen = "all => all.filter(e => getComputedStyle(e).display !== 'none').length"
    for what in (".slider", ".all", "nav", ".legend input", ".hint"):
        assert tab.locator(what).evaluate_all(seen) == 0, what
    assert example.evaluate("e => getComputedStyle(e).breakInside") == "avoid"
    assert example.evaluate(GLUED) == []
    assert tab.evaluate(WIDEST) <= inside
    assert tab.evaluate("document.documentElement.scrollWidth") <= inside
    ink = tab.locator("h1").evaluate("e => getComputedStyle(e).color")
    assert ink == "rgb(29, 36, 51)"  # dark, whatever the screen's colours are
    assert len(tab.pdf(format="A4")) > 10_000
    context.close()


@pytest.mark.slow
def test_a_table_that_goes_on_says_so(browser, tmp_path):
    place = tmp_path / "report.html"
    place.write_text("".join(page([wide_view()], [])), encoding="utf-8")
    context = browser.new_context(viewport={"width": 390, "height": 800})
    tab = context.new_page()
    tab.goto(place.as_uri())
    hint = tab.locator("#scores0 .hint")
    hint.wait_for(state="visible")
    assert "sideways" in hint.inner_text()
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390
    context.close()
