"""What the server gives to whom."""

import io
import json

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("rasterio")
pytest.importorskip("rio_tiler", reason="the extra `view` is missing")
pytest.importorskip("httpx2", reason="httpx2 is missing")

from drawn import blocks, class_map, raster, shares_of
from starlette.testclient import TestClient

from crossearth_jax.data.classes import ClassSet
from crossearth_jax.view.areas import AreaCount
from crossearth_jax.view.gather import gather
from crossearth_jax.view.serve import PORT, bound
from crossearth_jax.view.server import Site, application

HOSTILE = "<script>window.PWNED=9</script>\x1b[31m\u202e'\"><img src=x onerror=1>"
IDS = blocks(128, 200)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A map whose every name is hostile, by its name `a & <b>.tif` too."""
    folder = tmp_path_factory.mktemp("site")
    names = (HOSTILE, "b", "c", "d", "nodata")
    classes = ClassSet(names, tuple((k, k, k) for k in range(5)))
    path = class_map(
        folder,
        IDS,
        stem="a & <b>",
        classes=classes,
        shares=shares_of(IDS),
        polygons=".gpkg",
    )
    scene = raster(folder / "s.tif", np.zeros((3, 128, 200), np.uint8), nodata=None)
    view = gather([path], [scene])
    return Site(view, AreaCount(view.maps), "secret")


@pytest.fixture(scope="module")
def client(site):
    return TestClient(application(site), base_url="http://127.0.0.1:8008/secret/")


def test_the_page_and_its_parts_are_there(client):
    page = client.get("")
    assert page.status_code == 200 and "<main" in page.text
    for name in ("main.js", "page.css", "maplibre-gl.js", "pmtiles.LICENSE.txt"):
        answer = client.get(name)
        assert answer.status_code == 200 and answer.content
    assert client.get("main.js").headers["content-type"].startswith("text/javascript")


def test_every_answer_has_the_policy(client):
    for path in ("", "about.json", "nothing", "tiles/group0-classes/0/0/0"):
        headers = client.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize(
    "host, status",
    [
        ("127.0.0.1:8008", 200),
        ("localhost:1", 200),  # through a tunnel
        ("evil.example:8008", 400),
        ("127.0.0.1.evil.example", 400),
        ("", 400),
    ],
)
def test_other_hosts_are_refused(client, host, status):
    assert client.get("about.json", headers={"Host": host}).status_code == status


@pytest.mark.parametrize(
    "path",
    [
        *("/", "/about.json", "/wrong/about.json", "/secret/none.json"),
        *("/secret/../pyproject.toml", "/secret/%2e%2e/%2e%2e/etc/passwd"),
        *("/secret//etc/passwd", "/secret/a%20&%20%3Cb%3E.tif", "/secret/s.tif"),
        *("/secret/README.md", "/secret/polygons1.json", "/secret/main.js%00.txt"),
        *("/secret/tiles/other/0/0/0", "/secret/tiles/group0-classes/-1/0/0"),
        *("/secret/tiles/group0-classes/2/4/0", "/secret/tiles/scene/23/0/0"),
        "/secret/tiles/group0-classes/99999999999/0/0",
    ],
)
def test_nothing_else_is_there(client, path):
    answer = client.get(f"http://127.0.0.1:8008{path}")
    assert answer.status_code == 404 and len(answer.content) < 100


def test_names_are_harmless_text(client):
    text = client.get("about.json").text
    told = json.loads(text)
    (group,) = told["groups"]
    assert not set(str(told)) & set("\x1b\u202e")
    assert group["classes"][0]["name"].startswith("<script>")  # the page shows text
    assert "\\x1b[31m" in group["classes"][0]["name"]
    assert told["polygons"] == [{"name": "a & <b>.gpkg", "address": "polygons0.json"}]
    assert "tmp" not in text  # no path


def test_tiles_areas_and_polygons(client, site):
    layer = site.view.groups[0].layers["classes"]
    x, y = min(layer.tiles(layer.zoom))
    answer = client.get(f"tiles/group0-classes/{layer.zoom}/{x}/{y}")
    assert answer.headers["content-type"] == "image/png"
    assert Image.open(io.BytesIO(answer.content)).size == (512, 512)
    assert client.get(f"tiles/group0-classes/{layer.zoom}/0/0").status_code == 204
    site.count.count()  # the class named nodata hides the tag's meaning
    told = client.get("areas.json").json()
    counts = {str(k): 4.0 * (IDS == k).sum() for k in range(5)}
    assert told == {"groups": [[counts]], "share": 1.0, "problem": ""}
    features = client.get("polygons0.json").json()["features"]
    assert {f["properties"]["class_id"] for f in features} == set(range(5))


def test_a_file_that_broke_since_is_told_to_the_page(tmp_path, caplog):
    path = class_map(tmp_path, blocks(700, 700), crs=None, transform=None)
    view = gather([path])
    client = TestClient(application(Site(view, AreaCount(view.maps), "s")))
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 200)
    layer = view.groups[0].layers["classes"]
    answers = [
        client.get(
            f"/s/tiles/{layer.name}/{layer.zoom}/{x}/{y}", headers={"Host": "localhost"}
        )
        for x, y in [*layer.tiles(layer.zoom)] * 2
    ]
    bad, _ = [one for one in answers if one.status_code == 500]
    assert "scene.tif: cannot be read" in bad.text and str(tmp_path) not in bad.text
    assert len([line for line in caplog.messages if "scene.tif" in line]) == 1


def test_ports(monkeypatch):
    with bound(0) as first:
        assert first.getsockname()[0] == "127.0.0.1"
        taken = first.getsockname()[1]
        with pytest.raises(OSError, match=rf"got --port {taken}, in use"):
            bound(taken)
    with bound(None) as one, bound(None) as other:  # the next free one
        assert PORT <= one.getsockname()[1] < other.getsockname()[1]
