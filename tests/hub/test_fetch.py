"""Fetching against a hub on loopback; the library's own client does it."""

import hashlib
import os
import subprocess
import sys

import pytest

from crossearth_jax.hub import cache, catalogue
from crossearth_jax.hub.failure import NotFetched
from crossearth_jax.hub.fetch import fetch

pytestmark = pytest.mark.slow

CONTENT = bytes(range(256)) * 4096  # 1 MiB
SMALL = "facebook/dinov2-small/model.safetensors"


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def small():
    return catalogue.model_of("dinov2-small")


def test_a_file_comes_with_its_digest_which_is_kept(hub, capsys):
    hub.files[SMALL] = CONTENT
    [(path, digest)] = fetch(small())
    assert path.read_bytes() == CONTENT and digest == sha256(CONTENT)
    assert str(path).startswith(os.environ["HF_HOME"]), "the hub's own cache"
    assert cache.kept_digest(small(), small().files[0]) == digest
    told = f"fetching dinov2-small from {hub.address}/facebook/dinov2-small/res"
    assert capsys.readouterr().err.startswith(told)
    fetch(small())
    assert hub.transfers("model.safetensors") == 1 and not capsys.readouterr().err


def test_a_broken_transfer_goes_on_where_it_broke(hub):
    hub.files[SMALL], hub.breaks[SMALL] = CONTENT, 2
    [(path, _)] = fetch(small())
    assert path.read_bytes() == CONTENT
    spans = [span for method, _, span in hub.asked if method == "GET"]
    assert spans[0] is None and all(span for span in spans[1:]) and len(spans) == 3


def test_a_damaged_file_is_refused_before_it_is_used(hub):
    hub.files[SMALL], hub.told[SMALL] = CONTENT, "0" * 64
    with pytest.raises(cache.WrongFile, match=r"expected 0{64} as given by the serv"):
        fetch(small())
    assert cache.kept_digest(small(), small().files[0]) is None


def test_a_file_that_changed_since_the_first_time_is_refused(hub):
    hub.files[SMALL] = CONTENT
    fetch(small())
    hub.files[SMALL] = other = CONTENT[::-1]
    place = cache.place_of(small(), small().files[0])
    place.parent.mkdir(parents=True)
    place.write_bytes(other)
    message = rf"expected {sha256(CONTENT)}, which it had .* remove its entry from"
    with pytest.raises(cache.WrongFile, match=message):
        fetch(small())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"bytes": 7}, "got bytes 1048576, expected 7 as published"),
        ({"sha256": "1" * 64}, f"expected {'1' * 64} as published"),
        ({"git_blob": "2" * 40}, f"expected {'2' * 40} as published"),
    ],
)
def test_what_is_published_is_compared(hub, listed, wrong, message):
    hub.files["us/own/a.pth"] = CONTENT
    entry = {"name": "own", "about": "ours", "kind": "mtp", "licence": "MIT"}
    listed({**entry, "hub": "us/own", "files": [{"name": "a.pth", **wrong}]})
    with pytest.raises(cache.WrongFile, match=message):
        fetch(catalogue.model_of("own"))


def test_gits_own_id_is_a_digest(hub, listed):
    content = b"hello\n"
    hub.files["us/own/a.pth"] = content
    blob = "ce013625030ba8dba906f756967f9e9ca394464a"  # git hash-object
    entry = {"name": "own", "about": "ours", "kind": "mtp", "licence": "MIT"}
    listed({**entry, "hub": "us/own", "files": [{"name": "a.pth", "git_blob": blob}]})
    assert fetch(catalogue.model_of("own"))[0][1] == sha256(content)


def test_gated_says_how_to_get_access(hub):
    repository = "facebook/dinov3-vits16-pretrain-lvd1689m"
    hub.files[f"{repository}/model.safetensors"] = CONTENT
    hub.gated.add(repository)
    with pytest.raises(NotFetched) as caught:
        fetch(catalogue.model_of("dinov3-small"))
    told = str(caught.value)
    assert "it is gated" in told and "set HF_TOKEN" in told and "\n" not in told
    assert f"accept the terms at https://huggingface.co/{repository}" in told
    place = "files/dinov3-small/model.safetensors"
    assert told.endswith(f"put it at {cache.folder() / place}")


def test_offline_says_so_and_takes_what_is_there(hub, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(NotFetched, match=r"HF_HUB_OFFLINE is set.*put it at"):
        fetch(small())
    assert not hub.asked
    place = cache.place_of(small(), small().files[0])
    place.parent.mkdir(parents=True)
    place.write_bytes(CONTENT)
    assert fetch(small()) == [(place, sha256(CONTENT))]


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("absent", r"404, there is no such file"),
        ("short", r"the transfer broke off\): run the same command again"),
        (403, r"403, no access"),
        (500, r"the server answered 500"),
    ],
)
def test_every_refusal_is_one_line_with_address_and_place(hub, fault, message):
    if fault != "absent":
        hub.files[SMALL] = CONTENT
    if fault == "short":
        hub.short.add(SMALL)
    elif fault != "absent":
        hub.status[SMALL] = fault
    with pytest.raises(NotFetched, match=message) as caught:
        fetch(small())
    told = str(caught.value)
    assert f"{hub.address}/facebook/dinov2-small/resolve/main/model" in told
    assert told.endswith("files/dinov2-small/model.safetensors") and "\n" not in told


def test_no_connection_and_a_full_disk(hub, monkeypatch):
    import huggingface_hub
    from huggingface_hub import constants

    nowhere = "http://127.0.0.1:9/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", nowhere)
    with pytest.raises(NotFetched, match=r"no connection.*HTTPS_PROXY"):
        fetch(small())

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", full)
    with pytest.raises(
        NotFetched, match=r"the disk is full\): free some space, or set"
    ):
        fetch(small())


# ---- other servers ---------------------------------------------------------------


def own(hub, **file):
    """An entry of a server that is no hub."""
    files = [{"name": "a.pth", **file}]
    entry = {"name": "own", "about": "ours", "kind": "mtp", "licence": "MIT"}
    return {**entry, "url": f"{hub.address}/some/folder", "files": files}


def test_another_server_is_resumed_too_even_by_another_process(hub, listed):
    pytest.importorskip("pooch")
    hub.files["some/folder/a.pth"], hub.breaks["some/folder/a.pth"] = CONTENT, 1
    listed(own(hub, sha256=sha256(CONTENT)))
    with pytest.raises(NotFetched, match="the transfer broke off"):
        fetch(catalogue.model_of("own"))
    [(path, _)] = fetch(catalogue.model_of("own"))
    assert path.read_bytes() == CONTENT and [*path.parent.iterdir()] == [path]
    spans = [span for _, _, span in hub.asked]
    assert spans == [None, f"bytes={len(CONTENT) // 2}-"]


def test_another_server_without_the_file(hub, listed):
    pytest.importorskip("pooch")
    listed(own(hub))
    with pytest.raises(
        NotFetched, match=r"/some/folder/a\.pth \(404, there is no such"
    ):
        fetch(catalogue.model_of("own"))


def test_what_no_program_can_fetch_is_asked_for(hub):
    with pytest.raises(NotFetched, match=r"take it from https://1drv\.ms.* put it at"):
        fetch(catalogue.model_of("mtp-large"))


# ---- two at once -------------------------------------------------------------------

ONE = """
from crossearth_jax.hub.catalogue import model_of
from crossearth_jax.hub import cache
from crossearth_jax.hub.fetch import fetch
with cache.locked("dinov2-small"):
    print(fetch(model_of("dinov2-small"))[0][1])
"""


@pytest.mark.slow
def test_two_processes_make_one_transfer(hub):
    hub.files[SMALL] = CONTENT * 16
    pair = [
        subprocess.Popen([sys.executable, "-c", ONE], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    told = [each.communicate(timeout=120)[0].strip() for each in pair]
    assert told == [sha256(CONTENT * 16)] * 2 and not any(p.returncode for p in pair)
    assert hub.transfers("model.safetensors") == 1
