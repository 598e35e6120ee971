"""`crossearth prepare NAME --check` and `--download`, from a server on loopback."""

import hashlib
import sys
from dataclasses import replace
from pathlib import Path

import mini_loveda
import mini_potsdam
import pytest
from mini_files import files_in, write_zip

from crossearth_jax.commands import prepare as command
from crossearth_jax.data.prepare.distribution import (
    DISTRIBUTIONS,
    Distribution,
    Published,
)
from crossearth_jax.hub import fetch

sys.path.append(str(Path(__file__).parents[2] / "hub"))
import loopback


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    folder = tmp_path_factory.mktemp("loveda")
    mini_loveda.write_raw(folder)
    return {path.name: path.read_bytes() for path in folder.glob("*.zip")}


@pytest.fixture
def published(archives, monkeypatch):
    """The miniature archives as published, on no server."""

    def publish(address="", **odd):
        entries = tuple(
            Published(
                name,
                odd.get("size", len(data)),
                odd.get("md5") or hashlib.md5(data).hexdigest(),
                f"{address}/files/{name}?download=1",
            )
            for name, data in sorted(archives.items())
            if name != "Test.zip"
        )
        known = Distribution("https://example.org/page", "open", entries)
        monkeypatch.setitem(DISTRIBUTIONS, "loveda", known)

    publish()
    return publish


@pytest.fixture
def raw(archives, tmp_path):
    for name, data in archives.items():
        (tmp_path / "raw").mkdir(exist_ok=True)
        (tmp_path / "raw" / name).write_bytes(data)
    return tmp_path / "raw"


def run(*arguments):
    return command.main(list(map(str, arguments)))


def test_check_of_what_is_published(published, raw, capsys):
    assert run("loveda", "--raw", raw, "--check") == 0
    shown = capsys.readouterr().out
    assert shown.count("as published") == 4
    assert "loveda_urban/train: " in shown
    assert shown.index("loveda_urban/train") < shown.index("MD5 of")
    (raw / "Val.zip").rename(raw / "Validation.zip")
    assert run("loveda", "--raw", raw, "--check") == 0
    shown = capsys.readouterr().out
    assert "not there: Val.zip" in shown
    assert "Validation.zip: " in shown and "no published size is known" in shown
    assert not list(raw.parent.glob("out*"))


def test_check_refuses_by_size_before_anything_is_read(published, raw, capsys):
    data = (raw / "Val.zip").read_bytes()
    (raw / "Val.zip").write_bytes(data[:-9])
    assert run("loveda", "--raw", raw, "--check") == 1
    shown = capsys.readouterr()
    assert f"got {len(data) - 9:,} bytes, expected {len(data):,}" in shown.err
    assert "cut off" in shown.err and "MD5" not in shown.out
    published(md5="0" * 32)
    (raw / "Val.zip").write_bytes(data)
    assert run("loveda", "--raw", raw, "--check", "--out", raw.parent / "out") == 1
    assert "expected 00000000000000000000000000000000" in capsys.readouterr().err
    assert not (raw.parent / "out").exists()


def test_check_of_archives_in_archives(tmp_path, monkeypatch, capsys):
    mini_potsdam.write_raw(tmp_path / "one", size=16, areas=((2, 10),))
    inner = {p.name: p.read_bytes() for p in (tmp_path / "one").glob("*.zip")}
    name = "2_Ortho_RGB.zip"
    write_zip(tmp_path / "raw/Potsdam.zip", inner)
    digest = hashlib.md5(inner[name]).hexdigest()
    for md5, status in ((digest, 0), ("1" * 32, 1)):
        known = Distribution("page", "terms", (Published(name, md5=md5),))
        monkeypatch.setitem(DISTRIBUTIONS, "potsdam", known)
        assert run("potsdam", "--raw", tmp_path / "raw", "--check") == status
    shown = capsys.readouterr()
    assert f"Potsdam.zip [{name}]: MD5 {digest}, as published" in shown.out
    assert f"got MD5 {digest}" in shown.err


def test_something_must_be_asked_for(tmp_path, capsys):
    with pytest.raises(SystemExit):
        run("loveda", "--raw", tmp_path)
    assert "expected --out DIR, --check or --download" in capsys.readouterr().err


# Downloads


@pytest.fixture
def server(archives, published, monkeypatch, tmp_path):
    pytest.importorskip("pooch")
    monkeypatch.setenv("CROSSEARTH_CACHE", str(tmp_path / "cache"))
    for key in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(key, raising=False)
    hub, stop = loopback.start()
    hub.files = {f"files/{name}": data for name, data in archives.items()}
    published(hub.address)
    yield hub
    stop()


def test_download_then_prepare(server, tmp_path, capsys):
    raw, out = tmp_path / "raw", tmp_path / "out"
    assert run("loveda", "--download", "--raw", raw, "--out", out) == 0
    assert sorted(p.name for p in raw.iterdir()) == ["Train.zip", "Val.zip"]
    assert "MD5 as published" in capsys.readouterr().out
    assert files_in(out)
    assert run("loveda", "--download", "--raw", raw) == 0
    assert "here already" in capsys.readouterr().out
    assert sum(method == "GET" for method, _, _ in server.asked) == 2


def test_a_broken_download_is_gone_on_with(
    server, archives, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(fetch, "_CHUNK", 2**10)
    server.breaks["files/Train.zip"] = 1
    raw = tmp_path / "raw"
    assert run("loveda", "--download", "--raw", raw) == 1
    error = capsys.readouterr().err
    assert "the transfer broke off): run the same command again" in error
    assert [p.name for p in raw.iterdir()] == [".Train.zip.part"]
    assert run("loveda", "--download", "--raw", raw) == 0
    half = len(archives["Train.zip"]) // 2
    spans = [int(span[6:-1]) for _, _, span in server.asked if span]
    assert len(spans) == 1 and half - 2**10 < spans[0] <= half
    assert (raw / "Train.zip").read_bytes() == archives["Train.zip"]


def test_a_wrong_download_is_not_kept(server, published, tmp_path, capsys):
    published(server.address, md5="2" * 32)
    raw = tmp_path / "raw"
    assert run("loveda", "--download", "--raw", raw) == 1
    assert f"expected MD5 {'2' * 32}" in capsys.readouterr().err
    assert not list(raw.iterdir())
    published(server.address)
    (raw / "Train.zip").write_bytes(b"half")
    assert run("loveda", "--download", "--raw", raw) == 1
    assert "got a file of 4 bytes" in capsys.readouterr().err
    assert (raw / "Train.zip").read_bytes() == b"half"
    (raw / "Train.zip").unlink()
    published(server.address, size=2**60)
    assert run("loveda", "--download", "--raw", raw) == 1
    assert "bytes of free disk" in capsys.readouterr().err


@pytest.mark.parametrize("name", sorted(set(command.DATA_SETS) - {"loveda"}))
def test_others_print_terms_and_address(tmp_path, capsys, name):
    assert run(name, "--download", "--raw", tmp_path) == 1
    shown = capsys.readouterr()
    assert DISTRIBUTIONS[name].page in shown.err and DISTRIBUTIONS[name].terms in (
        shown.err
    )


def test_addresses_and_digests_are_well_formed():
    assert set(DISTRIBUTIONS) == set(command.DATA_SETS)
    for known in DISTRIBUTIONS.values():
        assert known.page.startswith("https://")
        for each in known.archives:
            assert each.md5 is None or len(bytes.fromhex(each.md5)) == 16
            whole = replace(each, url=None) == each or (each.bytes and each.md5)
            assert whole
