"""The page in Chromium: what is seen, from the server and from a folder."""

import functools
import http.server
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

rasterio = pytest.importorskip("rasterio")
pytest.importorskip("rio_tiler", reason="the extra `view` is missing")

from drawn import CLASSES, blocks, class_map, raster, shares_of  # noqa: E402
from test_view_server import HOSTILE  # noqa: E402

from crossearth_jax.cli import main  # noqa: E402
from crossearth_jax.data.classes import ClassSet  # noqa: E402
from crossearth_jax.view.layers import share_colours  # noqa: E402
from crossearth_jax.view.serve import bound  # noqa: E402

pytestmark = pytest.mark.slow
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
QUIET = [
    *("--no-sandbox", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
]
SOFTWARE = ["--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
PATIENCE = 30_000  # ms
IDS = blocks(320, 320)
SCENE = (0, 0, 255)  # one blue, that no class has
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def playwright():
    api = pytest.importorskip("playwright.sync_api", reason="playwright is missing")
    if CHROMIUM is None:
        pytest.skip("no browser: install chromium (apt-get install chromium)")
    with api.sync_playwright() as running:
        yield running


@pytest.fixture(scope="module")
def browser(playwright):
    running = playwright.chromium.launch(
        executable_path=CHROMIUM, args=[*QUIET, *SOFTWARE]
    )
    yield running
    running.close()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A map with everything, and its scene."""
    folder = tmp_path_factory.mktemp("drawn")
    map_ = class_map(folder / "maps", IDS, shares=shares_of(IDS), polygons=".gpkg")
    blue = np.broadcast_to(np.uint8(SCENE)[:, None, None], (3, *IDS.shape))
    return map_, raster(folder / "scene.tif", blue, nodata=None)


def started(*arguments):
    """A server in a process of its own, and its address."""
    command = [sys.executable, "-m", "crossearth_jax.cli", "view", "--no-browser"]
    process = subprocess.Popen(
        [*command, "--port", "0", *map(str, arguments)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
    )
    return process, process.stdout.readline().strip()


@pytest.fixture(scope="module")
def served(files):
    process, address = started(files[0], "--scene", files[1])
    yield address
    process.send_signal(signal.SIGINT)
    err = process.communicate(timeout=20)[1]
    assert process.returncode == 130 and err == "stopped\n"


@pytest.fixture(scope="module")
def folder(files, tmp_path_factory):
    out = tmp_path_factory.mktemp("site") / "page"
    asked = files[0], "--scene", files[1], "--export", out
    assert main(["view", *map(str, asked)]) == 0
    return out


@pytest.fixture(scope="module")
def exported(folder):
    """The folder behind Python's own server, which knows no ranges."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture
def ranged(folder):
    """The folder behind a server that sends the parts of files that it is asked for."""
    uvicorn = pytest.importorskip("uvicorn")
    from starlette.staticfiles import StaticFiles

    site = StaticFiles(directory=folder, html=True)
    server = uvicorn.Server(uvicorn.Config(site, log_level="error", lifespan="off"))
    with bound(0) as listening:
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
        server.should_exit = True
        thread.join()


class Tab:
    """A page that is watched."""

    def __init__(self, browser, address, width=1280, scheme="light"):
        self.context = browser.new_context(
            viewport={"width": width, "height": 800}, color_scheme=scheme
        )
        self.page, self.said, self.asked = self.context.new_page(), [], []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.address = address
        self.page.goto(address)

    def settle(self):
        """Waits until all tiles are drawn. (The policy forbids `wait_for_function`.)"""
        ready = "() => globalThis.chart?.loaded() && globalThis.chart.areTilesLoaded()"
        for _ in range(PATIENCE // 100):
            if self.page.evaluate(ready):
                break
            self.page.wait_for_timeout(100)
        else:
            raise AssertionError(f"not drawn: {self.said}")
        self.page.wait_for_timeout(400)

    def place(self, column, row):
        """Where a pixel of the map is on the page."""
        return self.page.evaluate(
            """([x, y]) => {
              const place = globalThis.chart.project([x, y]);
              const box = document.getElementById("map").getBoundingClientRect();
              return [box.x + place.x, box.y + place.y];
            }""",
            degrees(column, row),
        )

    def around(self, column, row, tmp_path):
        """What is seen where a pixel of the map is, and 4 pixels to each side."""
        shot = tmp_path / "shot.png"
        self.page.screenshot(path=shot)
        x, y = (int(part) for part in self.place(column, row))
        seen = np.asarray(Image.open(shot).convert("RGB"), int)
        return seen[y - 4 : y + 5, x - 4 : x + 5]

    def colour(self, column, row, tmp_path):
        """What is seen where a pixel of the map is."""
        return self.around(column, row, tmp_path)[4, 4]

    def table(self):
        rows = self.page.locator("#legend tbody tr")
        texts = (row.inner_text().split("\t") for row in rows.all())
        return {cells[0].strip(): [c.strip() for c in cells[1:]] for cells in texts}

    def close(self):
        """Nothing was said, and nobody else asked."""
        self.context.close()
        assert not self.said
        own = self.address.split("/")[2]
        assert not [u for u in self.asked if own not in u and u[:5] not in DATA]


DATA = ("data:", "blob:", "about")


def degrees(column, row):
    """Longitude and latitude of the middle of a pixel."""
    x, y = 335_000 + 2 * (column + 0.5), 3_060_000 - 2 * (row + 0.5)
    (longitude,), (latitude,) = rasterio.warp.transform("EPSG:32645", 4326, [x], [y])
    return longitude, latitude


def near(colour, other):
    return np.abs(colour - np.array(other)).max() <= 12


@pytest.mark.parametrize("way", ["served", "exported"])
def test_all_that_the_page_shows(request, browser, tmp_path, way):
    tab = Tab(browser, request.getfixturevalue(way))
    page = tab.page
    tab.settle()
    # The legend is the truth of the drawn map.
    truth = {n: 4 * int((IDS == k).sum()) for k, n in enumerate(CLASSES.names)}
    total = sum(truth.values())
    for name, (area, share) in tab.table().items():
        assert area == f"{truth[name] / 1e4:.4g} ha"
        assert share == f"{100 * truth[name] / total:.1f} %"
    assert "39.32 ha" in page.locator("#legend tfoot").inner_text()
    # Classes over the scene, by the slider.
    page.locator("#opacity").fill("100")
    tab.settle()
    road = IDS[96, 96]
    assert near(tab.colour(96, 96, tmp_path), CLASSES.palette[road])
    assert near(tab.colour(20, 20, tmp_path), SCENE)  # no data
    page.locator("#opacity").fill("50")
    tab.settle()
    half = (np.array(CLASSES.palette[road]) + SCENE) / 2
    assert near(tab.colour(96, 96, tmp_path), half)
    # A class that is switched off shows the scene.
    page.get_by_label(CLASSES.names[road]).uncheck()
    tab.settle()
    assert near(tab.colour(96, 96, tmp_path), SCENE)
    assert not near(tab.colour(160, 96, tmp_path), SCENE)
    page.get_by_role("button", name="All").click()
    tab.settle()
    assert near(tab.colour(96, 96, tmp_path), half)
    # The value under the cursor.
    page.mouse.move(*tab.place(224, 96))
    page.wait_for_timeout(1_000)
    shown = page.locator("#readout").inner_text()
    figures = re.fullmatch(
        r"([\d.]+)° N, ([\d.]+)° E\s*(\w+) · confidence (\d+) % · trust \d+ %", shown
    )
    longitude, latitude = degrees(224, 96)
    assert abs(float(figures[1]) - latitude) < 3e-5
    assert abs(float(figures[2]) - longitude) < 3e-5
    assert figures[3] == CLASSES.names[IDS[96, 224]]
    confidence = shares_of(IDS)["confidence"][96, 224] / 2.5
    assert abs(float(figures[4]) - confidence) <= 1.5
    # Confidence, with a bar.
    page.locator("#opacity").fill("100")
    page.locator("#right").select_option(label="confidence")
    tab.settle()
    assert page.locator("#ramp").is_visible()
    for column in (70, 310):
        value = shares_of(IDS)["confidence"][300, column]
        assert near(tab.colour(column, 300, tmp_path), share_colours()[value])
    # Polygons.
    page.locator("#right").select_option(label="scene alone")
    tab.settle()
    assert near(tab.colour(127, 100, tmp_path), SCENE)
    page.locator("#polygons").check()
    tab.settle()
    assert tab.around(127, 100, tmp_path).min(-1).max() > 150  # a white line
    page.mouse.click(*tab.place(160, 96))
    popup = page.locator(".maplibregl-popup-content")
    assert f"{CLASSES.names[IDS[96, 160]]} · " in popup.inner_text()
    tab.close()


def test_a_server_of_ranges_sends_no_archive_whole(browser, ranged, tmp_path):
    tab, answers = Tab(browser, "about:blank"), []
    tab.page.on("response", lambda answer: answers.append((answer.url, answer.status)))
    tab.address = ranged
    tab.page.goto(ranged)
    tab.settle()
    tab.page.locator("#opacity").fill("100")
    tab.settle()
    assert near(tab.colour(96, 96, tmp_path), CLASSES.palette[IDS[96, 96]])
    found = {status for url, status in answers if url.endswith(".pmtiles")}
    assert found == {206}
    tab.close()


def test_swipe_shows_the_scene_to_the_left(browser, served, tmp_path):
    tab = Tab(browser, served, width=390, scheme="dark")
    page = tab.page
    tab.settle()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.locator("#opacity").fill("100")
    page.locator("#swipe").check()
    page.wait_for_timeout(2_000)
    tab.settle()
    west, east = IDS[200, 80], IDS[200, 240]
    assert near(tab.colour(80, 200, tmp_path), SCENE)
    assert near(tab.colour(240, 200, tmp_path), CLASSES.palette[east])
    divider = page.get_by_role("slider", name="Swipe")
    divider.focus()
    page.keyboard.press("Home")
    assert divider.get_attribute("aria-valuenow") == "0"
    page.wait_for_timeout(300)
    assert near(tab.colour(80, 200, tmp_path), CLASSES.palette[west])
    page.locator("#swipe").uncheck()
    tab.settle()
    assert not divider.is_visible()
    assert near(tab.colour(80, 200, tmp_path), CLASSES.palette[west])
    tab.close()


def test_keys_move_the_map_and_tell_the_middle(browser, served):
    tab = Tab(browser, served)
    tab.settle()
    canvas = tab.page.locator("#map canvas").first
    canvas.focus()
    tab.page.keyboard.press("ArrowRight")
    tab.page.wait_for_timeout(1_500)
    assert tab.page.locator("#cross").is_visible()
    assert "confidence" in tab.page.locator("#readout").inner_text()
    tab.close()


def test_hostile_names_stay_text(browser, tmp_path):
    classes = ClassSet((HOSTILE, "x" * 150), CLASSES.palette[:2])
    path = class_map(
        tmp_path, IDS % 2, stem="<img src=x onerror=alert(1)>", classes=classes
    )
    process, address = started(path)
    try:
        tab = Tab(browser, address, width=390)
        tab.settle()
        page = tab.page
        assert page.evaluate("() => globalThis.PWNED") is None
        assert page.locator("aside script, aside img").count() == 0
        assert "<script>window.PWNED" in page.locator("#legend").inner_text()
        assert "<img src=x" in page.locator("#title").inner_text()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        panel = "e => e.scrollWidth <= e.clientWidth"
        assert page.locator("#panel").evaluate(panel)
        assert not tab.said
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
    page.get_by_role("button", name="Zoom in").click()
    notice = page.locator("#notice")
    notice.wait_for(timeout=PATIENCE)
    assert "start crossearth view again" in notice.inner_text()
    tab.context.close()


def test_pixels_and_two_runs_without_longitudes(browser, tmp_path):
    paths = [
        class_map(tmp_path / run, IDS, crs=None, transform=None, shares=shares_of(IDS))
        for run in ("rein", "full")
    ]
    process, address = started(*paths)
    try:
        tab = Tab(browser, address)
        tab.settle()
        page = tab.page
        choice = page.locator("#choice select")
        choice.select_option(index=2)
        tab.settle()
        box = page.locator("#map").bounding_box()
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        page.wait_for_timeout(1_000)
        assert "scene.tif: column 160, row 1" in page.locator("#readout").inner_text()
        assert page.locator(".maplibregl-ctrl-scale").count() == 0
        assert not page.locator("#north").is_visible()
        pixels = int((IDS == 1).sum())
        assert tab.table()["building"][0] == f"{pixels:,} px"
        tab.close()
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)


def test_without_webgl_it_says_so(playwright, served):
    running = playwright.chromium.launch(
        executable_path=CHROMIUM, args=[*QUIET, "--disable-gpu", "--disable-3d-apis"]
    )
    tab = Tab(running, served)
    notice = tab.page.locator("#notice")
    notice.wait_for(timeout=PATIENCE)
    assert "WebGL 2" in notice.inner_text()
    tab.page.wait_for_timeout(500)
    assert tab.table()["building"][0].endswith("ha")  # the legend is there
    tab.context.close()
    running.close()


def test_a_port_in_use_is_one_line(served, files):
    port = served.split(":")[2].split("/")[0]
    assert main(["view", str(files[0]), "--no-browser", "--port", port]) == 1
    request = urllib.request.Request(served, headers={"Host": "evil.example"})
    with pytest.raises(urllib.error.HTTPError, match="400"):
        urllib.request.urlopen(request)
