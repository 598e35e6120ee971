"""Scenes that are no local file: archives, servers, subdatasets, STAC."""

import functools
import http.server
import json
import os
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest
from rasters import predictor, squares, write

from crossearth_jax.commands import predict as command
from crossearth_jax.commands.predict_inputs import find_sources
from crossearth_jax.predict import predict_file
from crossearth_jax.predict.outputs import Wanted, is_done
from crossearth_jax.predict.sources import Remote, identity, settings_of, source_of
from crossearth_jax.predict.stac import items_of

rasterio = pytest.importorskip("rasterio", reason="needs the extra geo")


class Handler(http.server.SimpleHTTPRequestHandler):
    """Ranges, as GDAL asks for; the first answers may be errors."""

    failures = 0

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.answer(send_body=False)

    def do_GET(self):
        self.answer(send_body=True)

    def answer(self, send_body):
        if send_body and Handler.failures > 0:
            Handler.failures -= 1
            return self.send_error(503)
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            return self.send_error(404)
        data, total = path.read_bytes(), path.stat().st_size
        asked = self.headers.get("Range", "")
        first, last = 0, total - 1
        if asked.startswith("bytes="):
            begin, _, end = asked[6:].partition("-")
            first, last = int(begin), min(int(end or last), last)
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("Content-Range", f"bytes {first}-{last}/{total}")
        self.send_header("Content-Length", str(last + 1 - first))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Last-Modified", str(path.stat().st_mtime_ns))
        self.end_headers()
        if send_body:
            self.wfile.write(data[first : last + 1])


@pytest.fixture
def server(tmp_path, monkeypatch):
    """Serves a folder; gives it and its address."""
    monkeypatch.setenv("GDAL_HTTP_RETRY_DELAY", "0.05")
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "served"
    folder.mkdir()
    Handler.failures = 0
    handler = functools.partial(Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


VALUES = squares(70, 90)


def check(made):
    with rasterio.open(made) as file:
        expected = predictor()(np.moveaxis(VALUES, 0, 2))
        np.testing.assert_array_equal(file.read(1), expected)


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("https://b.org/x/a%20b.tif?key=1", "a b.tif"),
        ("s3://bucket/x/a.tif", "a.tif"),
        ("zip://b.zip!c/a.tif", "a.tif"),
        ("/vsizip/b.zip/c/a.tif", "a.tif"),
        ("/vsicurl/https://b.org/a.tif", "a.tif"),
        ('NETCDF:"x/rain.nc":mm', "rain_mm.tif"),
        ("HDF5:x/y.h5://group/band", "y_group_band.tif"),
        ("GTIFF_DIR:2:x/a.tif", "2_a.tif"),
    ],
)
def test_addresses_have_names(address, name):
    source = source_of(address)
    assert isinstance(source, Remote) and source.name == name
    assert "key" not in str(source)
    assert source_of("x/a.tif") == Path("x/a.tif")


@pytest.mark.parametrize("form", ["zip://{}!in/a.tif", "/vsizip/{}/in/a.tif"])
def test_a_member_of_an_archive(tmp_path, form):
    path = write(tmp_path / "a.tif", VALUES)
    archive = tmp_path / "b.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.write(path, "in/a.tif")
    source = source_of(form.format(archive))
    predict_file(predictor(), str(source), tmp_path / "out.tif")
    check(tmp_path / "out.tif")
    assert is_done(predictor(), source, tmp_path / "out.tif", Wanted())
    before = identity(source)
    os.utime(archive, (1, 1))
    assert identity(source) != before


def test_a_subdataset_and_a_vrt(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write("a.tif", VALUES)
    shutil = pytest.importorskip("rasterio.shutil")
    shutil.copy("a.tif", "b.vrt", driver="VRT")
    for address in ("GTIFF_DIR:1:a.tif", "b.vrt"):
        (source,) = find_sources([address])
        predict_file(predictor(), source, "out.tif", overwrite=True)
        check("out.tif")
    before = identity(source_of("GTIFF_DIR:1:a.tif"))
    os.utime("a.tif", (1, 1))
    assert identity(source_of("GTIFF_DIR:1:a.tif")) != before


def test_a_server_that_stumbles_is_asked_again(server, tmp_path):
    folder, address = server
    write(folder / "a.tif", VALUES)
    source = source_of(f"{address}/a.tif?token=secret")
    Handler.failures = 2
    predict_file(predictor(), source, tmp_path / "out.tif")
    assert Handler.failures == 0
    check(tmp_path / "out.tif")
    with rasterio.open(tmp_path / "out.tif") as made:
        assert "secret" not in str(made.tags())
    other_key = source_of(f"{address}/a.tif?token=other")
    assert is_done(predictor(), other_key, tmp_path / "out.tif", Wanted())
    os.utime(folder / "a.tif", (1, 1))
    with pytest.raises(ValueError, match="--overwrite"):
        is_done(predictor(), source, tmp_path / "out.tif", Wanted())


def test_a_list_of_addresses_starts_without_asking_their_servers(tmp_path):
    nowhere = source_of("http://127.0.0.1:9/a.tif")
    assert not is_done(predictor(), nowhere, tmp_path / "out.tif", Wanted())
    assert identity(nowhere) == ["http://127.0.0.1:9/a.tif"]
    assert settings_of(nowhere)["GDAL_HTTP_MAX_RETRY"] == 4
    assert not settings_of(source_of("zip://a.zip!b.tif"))
    assert settings_of(source_of("/vsizip//vsicurl/https://b.org/a.zip/b.tif"))


def item(name, **assets):
    found = {key: {"href": href} for key, href in assets.items()}
    return {"type": "Feature", "id": name, "assets": found}


def test_the_command_takes_addresses_and_stac(server, tmp_path, monkeypatch, capsys):
    folder, address = server
    monkeypatch.setattr(command, "load", lambda *_, **__: predictor())
    monkeypatch.chdir(tmp_path)
    (folder / "x").mkdir()
    write(folder / "x/a.tif", VALUES)
    items = [item("scene/1", visual="x/a.tif"), item("two", visual=f"{address}/no.tif")]
    collection = {"type": "FeatureCollection", "features": items}
    (folder / "items.json").write_text(json.dumps(collection))
    (folder / "one.json").write_text(json.dumps(item("one", visual="x/a.tif", b1="b")))
    inputs = [f"{address}/items.json", str(folder / "one.json"), f"{address}/x/a.tif"]
    Path("list.txt").write_text("\n".join(inputs))
    assert command.main(["run", "@list.txt", "--out", "out"]) == 1
    made = {p.name for p in Path("out").glob("*.tif")}
    assert made == {"scene_1.tif", "one.tif", "a.tif"}
    for name in made:
        check(Path("out", name))
    assert f"left out: {address}/no.tif: cannot be opened" in capsys.readouterr().err


def test_assets_are_named_or_the_only_one(tmp_path):
    place = tmp_path / "i.json"
    place.write_text(json.dumps(item("a", nir="n.tif", visual="v.tif")))
    assert items_of(str(place)) == [Remote(str(tmp_path / "v.tif"), "a.tif")]
    assert items_of(str(place), "nir")[0].address.endswith("n.tif")
    with pytest.raises(ValueError, match=r"got no asset red in item a.*nir, visual"):
        items_of(str(place), "red")
    place.write_text(json.dumps(item("a", data="s3://b/d.tif")))
    assert items_of(str(place)) == [Remote("s3://b/d.tif", "a.tif")]


@pytest.mark.parametrize(
    "text", ["no json", "[]", "{}", '{"type": "Feature"}', '{"type": "Catalog"}']
)
def test_what_is_no_stac_is_one_line(tmp_path, text):
    place = tmp_path / "i.json"
    place.write_text(text)
    with pytest.raises(ValueError, match=r"i\.json.*expected (a )?STAC item"):
        items_of(str(place))
