import json

import loopback
import pytest


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub on loopback, for this process and those that it starts; an empty cache."""
    constants = pytest.importorskip("huggingface_hub.constants")
    served, stop = loopback.start()
    home = tmp_path / "huggingface"
    for key in ("HF_TOKEN", "HF_HUB_OFFLINE", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(key, raising=False)
    monkeypatch.setenv("HF_ENDPOINT", served.address)
    monkeypatch.setenv("HF_HOME", str(home))
    monkeypatch.setenv("CROSSEARTH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("CROSSEARTH_MODELS", raising=False)
    # The library reads its variables once, when it is imported.
    template = served.address + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "ENDPOINT", served.address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(home / "hub"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(home / "token"))
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 2**16)  # else 10 MiB
    monkeypatch.setattr("time.sleep", lambda _: None)  # between tries of the library
    yield served
    stop()


@pytest.fixture
def listed(tmp_path, monkeypatch):
    """Puts entries into a list of one's own."""

    def put(*entries):
        place = tmp_path / "models.json"
        place.write_text(json.dumps({"models": entries}))
        monkeypatch.setenv("CROSSEARTH_MODELS", str(place))

    return put
