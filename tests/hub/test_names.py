"""Names through download, conversion and cache to what trains and predicts."""

import json
import os

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from stand_ins import crossearth_file, dinov2_file, dinov3_file, mtp_file

from crossearth_jax.cli import main
from crossearth_jax.data.known_classes import BUILDING, KNOWN_CLASSES
from crossearth_jax.hub import cache, catalogue
from crossearth_jax.hub.convert import convert_named
from crossearth_jax.hub.state import state
from crossearth_jax.hub.weights import absolute, find_weights, moved
from crossearth_jax.models.families import VARIANTS
from crossearth_jax.models.parameters import read_provenance, read_weights
from crossearth_jax.paper.settings import RUNS
from crossearth_jax.run.released import load_model

SMALL = "facebook/dinov2-small/model.safetensors"
AUTHORS = "Cusyoung/CrossEarth"


def put(hub, **names):
    for name, content in names.items():
        [file] = catalogue.model_of(name.replace("_", "-")).files
        hub.files[f"{catalogue.model_of(name.replace('_', '-')).hub}/{file.name}"] = (
            content
        )


def named(name):
    return catalogue.model_of(name)


# ---- the list ----------------------------------------------------------------------


def test_the_list_is_true_to_the_rest_of_the_package(monkeypatch):
    monkeypatch.delenv(catalogue.OWN_LIST, raising=False)
    known = catalogue.models()
    settings = {key for run in RUNS for key in run.targets}
    seen = set()
    for model in known.values():
        assert model.backbone is None or model.backbone in known
        assert model.classes is None or model.classes in KNOWN_CLASSES
        for each in model.settings:
            key, _, value = each.partition("=")
            if key == "backbone.variant":
                assert value in VARIANTS
            elif not key.startswith(("backbone.", "style.")):
                assert each in settings
                [crop] = {run.crop for run in RUNS if each in run.targets}
                assert model.crop == crop
                seen.add(each)
    assert seen == settings, "there is a checkpoint for every setting of the paper"
    assert all(
        n.startswith("dinov2-") == (m.kind == "dinov2") or "crossearth" in n
        for n, m in known.items()
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "../x"}, "expected a-z, 0-9"),
        ({"kind": "os"}, "got kind 'os', expected one of dinov2"),
        ({"files": [{"name": "../../x.pth"}]}, "expected a plain name"),
        ({"files": [{"name": "a.pth", "sha256": "12"}]}, "expected 64 digits"),
        ({"hub": "a/b", "url": "http://x"}, "expected one of hub, url and page"),
        ({"more": 1}, "unexpected keyword"),
    ],
)
def test_a_list_of_ones_own_is_read_strictly(listed, change, message):
    entry = {"name": "own", "about": "", "kind": "mtp", "licence": "", "files": []}
    listed({**entry, "hub": "us/own", **change})
    with pytest.raises(ValueError, match=message):
        catalogue.models()


def test_a_name_is_no_path_and_a_wrong_one_is_nearly_right(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dinov2-small").touch()
    assert find_weights("dinov2-small") == catalogue.Path("dinov2-small")
    assert str(find_weights("some/dinov2.safetensors")) == "some/dinov2.safetensors"
    with pytest.raises(ValueError, match="such as dinov2-large"):
        find_weights("dinov2-larg")


# ---- conversion --------------------------------------------------------------------


def test_a_backbone_is_converted_once_for_each_crop(hub, monkeypatch):
    put(hub, dinov2_small=dinov2_file())
    made = find_weights("dinov2-small", crop=64, patch=16)
    assert made.parent == cache.folder() / "converted"
    assert load_file(made)["backbone.pos_embed"].shape == (17, 96)
    asked = len(hub.asked)
    assert find_weights("dinov2-small", crop=64, patch=16) == made
    assert len(hub.asked) == asked, "what is converted needs no server"
    other = find_weights("dinov2-small", crop=96, patch=16)
    assert other != made and hub.transfers("model.safetensors") == 1
    assert state(named("dinov2-small")) == "cached"
    assert state(named("dinov2-base")) == "to download"


def test_the_other_kinds(hub, tmp_path):
    put(hub, dinov3_large_sat=dinov3_file())
    made = read_provenance(find_weights("dinov3-large-sat"))
    assert made["kind"] == "dinov3" and "0.411" in made["pixels"]
    [file] = named("mtp-base").files
    assert state(named("mtp-base")) == "by hand"
    place = cache.place_of(named("mtp-base"), file)
    place.parent.mkdir(parents=True)
    mtp_file(place)
    assert state(named("mtp-base")) == "downloaded"
    assert read_provenance(find_weights("mtp-base"))["kind"] == "mtp"


def test_a_whole_network_brings_its_backbone_and_its_classes(hub, tmp_path):
    put(
        hub,
        crossearth_loveda_rural=crossearth_file(tmp_path / "a.pth"),
        crossearth_dinov2_1024=dinov2_file(),
    )
    made = convert_named(named("crossearth-loveda-rural"))
    told = read_provenance(made)
    assert "backbone.patch_embed.kernel" in load_file(made)
    assert told["class_set"]["names"] == list(KNOWN_CLASSES["loveda"].names)
    assert told["named_by"] == "loveda"
    assert told["network"]["backbone.variant"] == "vit_tiny"
    asked = len(hub.asked)
    assert convert_named(named("crossearth-loveda-rural")) == made
    assert len(hub.asked) == asked


def test_a_whole_network_on_another_backbone(hub, tmp_path):
    put(
        hub,
        crossearth_deepglobe_mtp=crossearth_file(tmp_path / "a.pth", 2),
    )
    place = cache.place_of(named("mtp-large"), named("mtp-large").files[0])
    place.parent.mkdir(parents=True)
    mtp_file(place)
    told = read_provenance(convert_named(named("crossearth-deepglobe-mtp")))
    assert told["network"]["backbone.variant"] == "rvsa_tiny"
    assert told["network"]["data.crop"] == 1024  # its positions are of another size


@pytest.mark.parametrize("named_inside", [True, False])
def test_the_background_of_buildings_becomes_class_0(hub, tmp_path, named_inside):
    meta = {"dataset_meta": {"classes": ["Building", "Background"]}}
    more = {"meta": meta} if named_inside else {}
    put(
        hub,
        crossearth_whu_aerial=crossearth_file(tmp_path / "a.pth", 2, **more),
        crossearth_dinov2_512=dinov2_file(),
    )
    told = read_provenance(convert_named(named("crossearth-whu-aerial")))
    assert told["class_set"]["names"] == list(BUILDING.names)
    assert "exchanged, so that background is 0" in told["classes"]


def test_a_pickle_that_would_run_something_is_refused(hub, tmp_path):
    import pickle

    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path}/ran",)

    put(hub, crossearth_dinov2_512=pickle.dumps({"state_dict": Evil()}))
    with pytest.raises(ValueError, match="system"):
        find_weights("crossearth-dinov2-512")
    assert not (tmp_path / "ran").exists()
    assert not [*(cache.folder() / "converted").glob("*")]


# ---- the commands ------------------------------------------------------------------


def test_download_models_and_folders(hub, tmp_path, capsys):
    put(hub, dinov2_small=dinov2_file())
    assert main(["download", "dinov2-small"]) == 0
    told = capsys.readouterr().out
    assert "--config.backbone.weights=dinov2-small --config.backbone.variant" in told
    assert main(["models", "--format", "csv"]) == 0
    [line] = [x for x in capsys.readouterr().out.splitlines() if "dinov2-small" in x]
    assert line.endswith("facebook/dinov2-small,cached")
    own = tmp_path / "own"
    assert main(["download", "dinov2-small", "--dir", str(own), "--crop", "64"]) == 0
    assert [path.name for path in own.iterdir()] == ["dinov2-small.safetensors"]
    assert main(["download", "dinov2-small", "--dir", str(own), "--no-convert"]) == 0
    copy = own / "dinov2-small/model.safetensors"
    assert copy.read_bytes() == hub.files[SMALL]
    put(hub, dinov2_base=dinov2_file())
    (own / "dinov2-base.safetensors").write_bytes(b"mine")
    assert main(["download", "dinov2-base", "--dir", str(own)]) == 1
    assert "is not of dinov2-base, expected a new file" in capsys.readouterr().err
    assert (own / "dinov2-base.safetensors").read_bytes() == b"mine"


def test_what_does_not_predict_says_why(hub, tmp_path):
    with pytest.raises(ValueError, match="which predicts nothing by itself"):
        load_model("dinov2-small")
    with pytest.raises(ValueError, match=r"workdir of a trained run.*crossearth mod"):
        load_model("dino")
    put(hub, dinov2_small=dinov2_file())
    with pytest.raises(ValueError, match="it holds 'dinov2' weights"):
        load_model(find_weights("dinov2-small"))
    with pytest.raises(ValueError, match=r"none\.pth, which is missing"):
        load_model(tmp_path / "none.pth")
    with pytest.raises(ValueError, match=r"--classes loveda with .* has its own"):
        load_model(tmp_path, classes="loveda")
    with pytest.raises(ValueError, match="which are missing: check the path"):
        read_weights(tmp_path / "gone.safetensors")


@pytest.mark.slow
def test_a_checkpoint_of_ones_own_predicts(hub, tmp_path, caplog):
    put(hub, crossearth_dinov2_1024=dinov2_file(), dinov2_small=dinov2_file())
    crossearth_file(tmp_path / "R2U.pth")  # known by its name
    run = load_model(tmp_path / "R2U.pth")
    assert run.classes.names == KNOWN_CLASSES["loveda"].names
    assert (run.windows.crop, run.windows.stride) == (1024, 683)
    crossearth_file(tmp_path / "own.pth", 3)
    with pytest.raises(ValueError, match=r"or a name such as dinov2-large, with --ba"):
        load_model(tmp_path / "own.pth")
    run = load_model(tmp_path / "own.pth", backbone="dinov2-small", crop=64)
    assert run.classes.names == ("class_0", "class_1", "class_2")
    assert "name them with --classes FILE" in caplog.text
    assert run.windows.crop == 64 and run.about()["name"].startswith("own-")


# ---- where a run finds its weights again --------------------------------------------


def test_paths_become_absolute_and_names_stay(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    kept = absolute(
        {
            "backbone": {"weights": "w.safetensors", "width": 8},
            "train": {"init": "dinov2-small"},
        }
    )
    assert kept["backbone"] == {"weights": str(tmp_path / "w.safetensors"), "width": 8}
    assert kept["train"] == {"init": "dinov2-small"}


def test_weights_are_found_beside_the_run_and_by_digest(hub, tmp_path):
    workdir = tmp_path / "project/runs/a"
    workdir.mkdir(parents=True)
    given = {"backbone": {"weights": "/gone/w.safetensors"}, "train": {"init": None}}
    assert moved(given, {}, workdir) == {}
    put(hub, dinov2_small=dinov2_file())
    made = find_weights("dinov2-small", crop=64)
    sealed = {"weights_from": {"sources": read_provenance(made)["sources"]}}
    assert moved(given, json.loads(json.dumps(sealed)), workdir) == {
        "backbone.weights": str(made)
    }
    (tmp_path / "project/w.safetensors").touch()
    found = moved(given, sealed, workdir)
    assert found == {"backbone.weights": str(tmp_path / "project/w.safetensors")}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("decoder.decoder_layers", 10**6),
        ("backbone.weights", "/etc/passwd"),
        ("workdir", "/"),
        ("decoder.width", [[]]),
    ],
)
def test_a_file_from_a_stranger_sets_sizes_and_nothing_else(tmp_path, key, value):
    place = tmp_path / "a.safetensors"
    told = {"kind": "crossearth", "network": {"data.crop": 64, key: value}}
    kept = {name: json.dumps(value) for name, value in told.items()}
    save_file({"x": np.zeros(1, np.float32)}, place, kept)
    with pytest.raises(ValueError, match=f"with the setting '{key}'="):
        load_model(place)
