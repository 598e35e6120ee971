"""A workdir holds one run: its classes never change, the rest only if allowed."""

import json
import shutil
from contextlib import closing

import pytest

from crossearth_jax import config as configs
from crossearth_jax import train
from crossearth_jax.build_data import Data
from crossearth_jax.data.classes import ClassSet, LabelEncoding
from crossearth_jax.data.datasets import FolderSource
from crossearth_jax.run import contract, provenance, seal
from crossearth_jax.run.checkpoint import Checkpoints
from crossearth_jax.run.trained import load_run
from crossearth_jax.run_settings import read_settings

pytestmark = pytest.mark.slow

NAMES = ("ground", "roof")


class Records:
    """A source of training records, without any."""

    def __init__(self, digest="d", encoding=None):
        self.digest, self.encoding = digest, encoding

    def fingerprint(self):
        return self.digest


def facts(names=NAMES, digest="d", encoding="ids", weights="w", **keys):
    settings = configs.default()
    settings.update_from_flattened_dict(keys)
    classes = ClassSet(names, ((0, 0, 0), (255, 0, 0)))
    source = Records(digest, LabelEncoding(encoding))
    return contract.facts(settings.to_dict(), Data(classes, source, ()), weights)


def check(before, now, *allow, done=3):
    return contract.check_training(before, now, allow, done=done)


def test_the_same_run_goes_on_without_a_word():
    assert check(facts(), facts()) == []
    sealed = json.loads(json.dumps(facts()))
    assert check(sealed, facts()) == []


@pytest.mark.parametrize(
    "other",
    [
        {"names": NAMES[::-1]},
        {"names": ("ground", "tower")},
        {"encoding": "mask255"},
    ],
)
def test_classes_never_change(other):
    with pytest.raises(ValueError, match=r"got other classes.*expected the same"):
        check(facts(), facts(**other), "data", "optim.lr")


@pytest.mark.parametrize(
    ("key", "other", "shown"),
    [
        ("optim.lr", {"optim.lr": 0.01}, r"optim\.lr: 0\.0001 → 0\.01"),
        ("train.batch_size", {"train.batch_size": 4}, r"batch_size: 1 → 4"),
        ("train.seed", {"train.seed": 7}, r"train\.seed: 42 → 7"),
        ("train.steps", {"train.steps": 2}, r"train\.steps: 30000 → 2"),
        ("gse.enabled", {"gse.enabled": False}, r"gse\.enabled: True → False"),
        ("data", {"digest": "e"}, r"data: [0-9a-f]{12} → [0-9a-f]{12}"),
        ("weights", {"weights": "v"}, r"weights: w → v"),
    ],
)
def test_other_changes_are_listed_and_need_to_be_allowed(key, other, shown):
    with pytest.raises(ValueError, match=f"{shown}.*--allow-changes {key},? ") as error:
        check(facts(), facts(**other))
    assert len(str(error.value).splitlines()) == 1
    (line,) = check(facts(), facts(**other), key)
    assert line.startswith(f"{key}: ")


def test_all_refused_changes_stand_in_one_line():
    now = facts(**{"optim.lr": 0.01, "train.seed": 7})
    with pytest.raises(
        ValueError, match=r"add --allow-changes optim\.lr,train\.seed, "
    ):
        check(facts(), now)
    with pytest.raises(ValueError, match=r"train\.seed: 42 → 7") as error:
        check(facts(), now, "optim.lr")
    assert "optim.lr" not in str(error.value)


@pytest.mark.parametrize("key", ["lr", "optim.lrr", "classes", "train"])
def test_a_key_that_cannot_be_allowed_is_refused(key):
    with pytest.raises(ValueError, match=f"--allow-changes {key}, expected a key"):
        check(facts(), facts(), key)


def test_what_images_were_is_sealed_and_scores_depend_on_it():
    before, after = ({"data.scale": (0, high)} for high in (4000, 3000))
    with pytest.raises(ValueError, match=r"data\.scale: 0, 4000 → 0, 3000"):
        check(facts(**before), facts(**after))
    with pytest.raises(ValueError, match=r"data\.scale: 0, 4000 → \[\]"):
        contract.check_scoring(facts(**before), facts())
    with pytest.raises(ValueError, match=r"data\.bands: 3, 2, 1 → 4, 2, 1"):
        bands = [facts(**{"data.bands": b}) for b in ((3, 2, 1), (4, 2, 1))]
        contract.check_scoring(*bands)
    others = facts(**{"data.scales": (1.0,), "data.gsd": 0.3, "data.balance": "pixels"})
    assert contract.check_scoring(facts(), others) == []
    with pytest.raises(ValueError, match=r"data\.balance.*data\.gsd|gsd.*balance"):
        check(facts(), others)


def test_what_does_not_shape_a_run_is_free():
    free = {
        "workdir": "elsewhere",
        "train.log_every": 7,
        "train.checkpoint_every": 7,
        "train.fsdp": 2,
        "data.threads": 9,
        "data.workers": 9,
        "data.root": "moved",
        "data.train": "moved/a",
        "data.unseen": "more=b",
        "eval.stride": 8,
    }
    assert check(facts(), facts(**free)) == []


def test_more_steps_are_allowed_and_reported():
    now = facts(**{"train.steps": 40_000})
    assert check(facts(), now) == ["train.steps: 30000 → 40000"]


def test_other_code_needs_to_be_allowed(monkeypatch):
    before = facts()
    monkeypatch.setattr(contract, "code_digest", lambda: "f" * 64)
    with pytest.raises(ValueError, match=r"code: .* → .*ffffffffffff"):
        check(before, facts())
    with pytest.raises(ValueError, match="; code is the version or source of cross"):
        check(before, facts())
    (line,) = check(before, facts(), "code")
    assert line.startswith("code: ")
    assert contract.check_scoring(before, facts()) == []


def test_scores_depend_on_classes_model_and_weights_alone():
    now = facts(digest="e", encoding="mask255", **{"optim.lr": 1.0})
    assert contract.check_scoring(facts(), now) == []
    with pytest.raises(ValueError, match="got other classes"):
        contract.check_scoring(facts(), facts(NAMES[::-1]), ["data"])
    now = facts(**{"data.crop": 256})
    with pytest.raises(ValueError, match=r"data\.crop: 512 → 256"):
        contract.check_scoring(facts(), now)
    assert contract.check_scoring(facts(), now, ["data.crop"])


def test_keys_of_another_version_count_as_their_default():
    before = facts()
    del before["train.seed"], before["code"]
    assert check(before, facts()) == []
    before["loss.of_a_later_version"] = 1
    with pytest.raises(ValueError, match="of_a_later_version: 1 → None"):
        check(before, facts())
    assert check({}, facts()) == []  # nothing is known


# ---- a run of a tiny configuration ---------------------------------------------------


@pytest.fixture(scope="module", autouse=True)
def nothing_scored():
    """Compiling what scores would take most of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "score", lambda *arguments: {"domains": {}})
        yield


@pytest.fixture(scope="module")
def finished(tiny_config, tmp_path_factory, quick_compile):
    """A finished run of two steps."""
    workdir = tmp_path_factory.mktemp("contract") / "run"
    config = tiny_config(**SMALL)
    train.train(config, workdir)
    return config, workdir


SMALL = {
    "train.steps": 2,
    "mim.enabled": False,
    "gse.enabled": False,
    "style.probability": 0.0,
    "data.eval_scenes": 1,
}


@pytest.fixture
def run(finished, tmp_path):
    config, workdir = finished
    shutil.copytree(workdir, tmp_path / "run")
    return config.copy_and_resolve_references(), tmp_path / "run"


def texts(workdir):
    return {p: p.read_bytes() for p in workdir.rglob("*") if p.is_file()}


def test_a_checkpoint_seals_what_its_run_is_made_of(finished):
    config, workdir = finished
    with closing(Checkpoints(workdir, read_only=True)) as saved:
        made = saved.made(2)
    assert made["classes"][1] == "building"
    assert made["optim.lr"] == config.optim.lr
    assert made["code"].endswith(provenance.code_digest()[:12])
    assert not (workdir / "lock.json").exists()


def test_a_finished_run_has_nothing_to_train(run, capsys):
    config, workdir = run
    train.train(config, workdir)
    assert "already finished, 2 steps: nothing to train" in capsys.readouterr().out


def test_other_settings_are_refused_before_anything_is_written(run):
    config, workdir = run
    config.optim.lr, config.train.steps = 1.0, 3
    before = texts(workdir)
    with pytest.raises(ValueError, match=r"optim\.lr: 0\.001 → 1\.0"):
        train.train(config, workdir)
    assert texts(workdir) == before


def test_scoring_refuses_another_order_of_the_classes(run, monkeypatch):
    config, workdir = run
    build = train.build_data

    def swapped(settings):
        data = build(settings)
        names = (*data.classes.names[1::-1], *data.classes.names[2:])
        classes = ClassSet(names, data.classes.palette)
        return Data(classes, data.train, data.domains)

    monkeypatch.setattr(train, "build_data", swapped)
    for start in (train.evaluate_run, train.train):
        with pytest.raises(ValueError, match=r"classes: .*back.* → building"):
            start(config, workdir)


def test_prediction_refuses_changed_class_names(run):
    _, workdir = run
    path = workdir / "classes.json"
    content = json.loads(path.read_text())
    assert load_run(workdir).classes.names == tuple(content["names"])
    content["names"].reverse()
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"classes\.json are not those.*classes: "):
        load_run(workdir)


def resealed(workdir, change):
    """Seals the checkpoints again, after a change of what the seal says."""
    for path in workdir.rglob(seal.NAME):
        about = seal.read(path.parent)
        change(about)
        path.unlink()
        del about["files"]
        seal.write(path.parent, about)


def test_a_run_of_an_older_format_goes_on_by_its_configuration(run):
    config, workdir = run
    resealed(workdir, lambda about: about.pop("made"))
    config.optim.lr = 1.0
    with pytest.raises(ValueError, match=r"optim\.lr: 0\.001 → 1\.0"):
        train.train(config, workdir)
    config.optim.lr = 1e-3
    train.train(config, workdir)


def test_a_broken_provenance_does_not_block_a_sound_run(run, caplog):
    config, workdir = run
    (workdir / "provenance.json").write_text("{")
    train.train(config, workdir)
    assert "it is now provenance.damaged.json" in caplog.text
    assert len(provenance.read(workdir)) == 1


def test_markup_in_a_class_name_is_text(run, monkeypatch, capsys):
    config, workdir = run
    made = train.build_data(read_settings(config).data)
    names = ("[/bold]", *made.classes.names[1:])
    data = Data(ClassSet(names, made.classes.palette), made.train, made.domains)
    monkeypatch.setattr(train, "build_data", lambda settings: data)
    shutil.rmtree(workdir)
    config.train.steps = 0
    train.train(config, workdir)
    assert "[/bold], building" in capsys.readouterr().out


# ---- folders and files of checkpoints ------------------------------------------------


def test_a_renamed_checkpoint_is_not_another_step(run):
    config, workdir = run
    (workdir / "checkpoints" / "2").rename(workdir / "checkpoints" / "7")
    with pytest.raises(ValueError, match="it holds step 2: the folder was renamed"):
        train.train(config, workdir)


def test_the_state_has_the_step_of_its_folder(run):
    config, workdir = run
    (workdir / "checkpoints" / "2").rename(workdir / "checkpoints" / "7")
    resealed(workdir, lambda about: about.update(step=7))
    with pytest.raises(ValueError, match="/7 with the state of step 2"):
        train.train(config, workdir)


@pytest.mark.parametrize("name", [".DS_Store", "Thumbs.db", "._seal.json", ".nfs01"])
def test_stray_files_do_not_condemn_a_checkpoint(run, name):
    _, workdir = run
    (workdir / "checkpoints" / "2" / name).write_bytes(b"x")
    (workdir / "checkpoints" / "2" / "default" / name).write_bytes(b"x")
    (workdir / "checkpoints" / name).write_bytes(b"x")
    with closing(Checkpoints(workdir)) as saved:
        assert saved.set_damaged_aside() == 2


def test_readers_leave_a_save_alone_that_is_on_its_way(run):
    _, workdir = run
    half = workdir / "checkpoints" / "3.orbax-checkpoint-tmp"
    half.mkdir()
    load_run(workdir)
    assert half.exists()


def test_contents_of_some_files_are_part_of_a_run(tmp_path):
    from crossearth_jax.data.folders import Pair

    files = [tmp_path / f"{i}.png" for i in range(20)]
    for file in files:
        file.write_bytes(b"ab")
    classes = ClassSet(NAMES, ((0, 0, 0), (255, 0, 0)))
    pairs = [Pair(file, file, file.stem) for file in files]
    data = Data(classes, FolderSource(pairs, classes, "ids"), ())
    before = provenance.sampled_contents(data)
    files[0].write_bytes(b"ba")
    assert provenance.sampled_contents(data) != before


def test_where_weights_came_from_is_told_and_never_compared():
    now = {"weights": "a", "weights_from": {"given": "dinov2-large", "sources": []}}
    before = {"weights": "a", "weights_from": {"given": "/old/w.safetensors"}}
    assert contract.differences(before, now) == {}
    assert contract.differences({**before, "weights": "b"}, now) == {
        "weights": ("b", "a")
    }
