"""Scores while training: what they are, and that training does not notice them."""

import json
import signal
from contextlib import closing
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from crossearth_jax import train
from crossearth_jax.data.known_classes import BUILDING
from crossearth_jax.run import midway, trained
from crossearth_jax.run.checkpoint import Checkpoints, read_parameters
from crossearth_jax.run.midway import Midway, MidwayScores, scored_domains
from crossearth_jax.run.stop import Stopped
from crossearth_jax.run_settings import MidwaySettings, read_settings
from crossearth_jax.scoring.counts import Confidence, DomainCounts, ImageCounts
from crossearth_jax.scoring.domain import DomainResult
from crossearth_jax.scoring.windows import Windows

# ---- which, when, and in words -------------------------------------------------------


def domain(name, role="source", content="a"):
    source = SimpleNamespace(fingerprint=lambda: content)
    return SimpleNamespace(name=name, role=role, fit=None, source=source)


DATA = SimpleNamespace(
    domains=(domain("sub"), domain("tem", "unseen")), classes=BUILDING
)
UNSEEN = SimpleNamespace(domains=DATA.domains[1:], classes=BUILDING)


def test_the_source_is_scored_unless_all_are_asked_for():
    def names(settings, data=DATA):
        return [d.name for d in scored_domains(settings, data)]

    assert names(MidwaySettings(2, "source", True)) == ["sub"]
    assert names(MidwaySettings(2, "all", True)) == ["sub", "tem"]
    assert names(MidwaySettings(0, "source", False), UNSEEN) == []
    assert names(MidwaySettings(2, "all", False), UNSEEN) == ["tem"]


@pytest.mark.parametrize("data", [UNSEEN, SimpleNamespace(domains=())])
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (MidwaySettings(2, "source", False), "eval.every without a source domain"),
        (MidwaySettings(2, "source", True), "train.keep_best without a source"),
        (MidwaySettings(2, "all", True), "train.keep_best without a source"),
    ],
)
def test_without_a_source_domain_nothing_is_chosen(settings, data, message):
    with pytest.raises(ValueError, match=message):
        scored_domains(settings, data)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train.keep_best": True}, "keep_best=True with eval.every=0.*eval.every=N"),
        ({"eval.every": -1}, "got eval.every=-1"),
        ({"eval.every": 2, "eval.domains": "unseen"}, '"source" or "all"'),
    ],
)
def test_settings_that_do_not_fit_are_one_line(tiny_config, changes, message):
    with pytest.raises(ValueError, match=message) as error:
        read_settings(tiny_config(**changes))
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("given", "read"),
    [(("a", "b"), ("a", "b")), (("a, b",), ("a", "b")), (("",), ()), ((), ())],
)
def test_loggers_are_words_from_a_file_or_a_command_line(tiny_config, given, read):
    settings = read_settings(tiny_config(**{"train.loggers": given}))
    assert settings.train.loggers == read


def made(every=2, steps=7, data=DATA, stride=None):
    settings = SimpleNamespace(
        midway=MidwaySettings(every, "source", False),
        train=SimpleNamespace(steps=steps),
        windows=Windows(32, stride or 32, patch=16, batch=1),
    )
    return Midway(settings, data, None, {}, asked_to_stop=lambda: False)


def test_every_nth_step_is_scored_and_the_last():
    assert [s for s in range(8) if made().due(s)] == [2, 4, 6, 7]
    assert (made().to_come(0), made().to_come(4), made(every=0).to_come(0)) == (4, 2, 0)
    assert not any(made(every=0).due(s) for s in range(8))


def test_scores_on_other_images_or_windows_are_told_apart():
    other = SimpleNamespace(domains=(domain("sub", content="b"),), classes=BUILDING)
    more = SimpleNamespace(domains=(domain("sub"),), classes=BUILDING)
    digests = [made()._on, made(data=other)._on, made(stride=16)._on]
    assert len(set(digests)) == 3
    assert made(data=more)._on == digests[0]  # unseen domains do not matter


def test_values_leave_out_what_is_undefined():
    confusion = np.array([[6, 0], [2, 0]])
    counts = (ImageCounts.of(0, "a", confusion),)
    result = DomainResult(
        "s\x1bub", "source", (), (), DomainCounts(2, counts, Confidence.none())
    )
    empty = DomainResult("tem", "unseen", (), (), DomainCounts(2, (), result.counts))
    scores = MidwayScores((result, empty), BUILDING, None)
    name = BUILDING.names[0]
    assert scores.values() == pytest.approx(
        {
            "s\x1bub/mIoU": 0.375,
            f"s\x1bub/IoU/{name}": 0.75,
            f"s\x1bub/IoU/{BUILDING.names[1]}": 0.0,
        }
    )
    assert scores.in_words() == "mIoU in %: s\\x1bub (source) 37.5, tem (unseen) -"


# ---- a whole run ---------------------------------------------------------------------

SMALL = {
    "train.steps": 6,
    "train.checkpoint_every": 3,
    "mim.enabled": False,
    "gse.enabled": False,
    "style.probability": 0.0,
    "train.loggers": (),
}
SCORED = {"eval.every": 2, "train.keep_best": True}


@pytest.fixture
def start(tiny_config, monkeypatch, quick_compile):
    """Trains in a workdir; the report of the end is another matter."""
    monkeypatch.setattr(train, "score", lambda *arguments: {"domains": {}})

    def run(workdir, **changes):
        train.train(tiny_config(**SMALL | changes), workdir)
        return workdir

    return run


def lines(workdir):
    text = (workdir / "metrics.jsonl").read_text().splitlines()
    return [line for line in text if "mIoU" not in line], text


def kept(workdir):
    """Steps, the best of them, and every bit of the last state."""
    with closing(Checkpoints(workdir, read_only=True)) as saved:
        found = saved.find("best"), saved.latest()
    steps = {int(p.name) for p in (workdir / "checkpoints").iterdir()}
    return steps, found


def stops_while_scoring(monkeypatch, step):
    """SIGTERM arrives when the score function is called for a step."""
    real, calls = midway.make_scorer, []

    def make_scorer(*arguments):
        with_parameters = real(*arguments)

        def watched(params):
            calls.append(params)
            if len(calls) == step:
                signal.raise_signal(signal.SIGTERM)
            return with_parameters(params)

        return watched

    monkeypatch.setattr(midway, "make_scorer", make_scorer)


def parameters_that_are_scored(monkeypatch):
    """An array of each state that is scored, as it is afterwards."""
    seen, real = [], Midway.score

    def score(self, params):
        seen.append(jax.tree.leaves(params)[0])
        return real(self, params)

    monkeypatch.setattr(Midway, "score", score)
    return seen


@pytest.mark.slow
def test_training_is_the_same_with_scores_without_and_stopped_among_them(
    start, tmp_path, monkeypatch, capsys
):
    plain = start(tmp_path / "plain")
    with monkeypatch.context() as patch:
        seen = parameters_that_are_scored(patch)
        scored = start(tmp_path / "scored", **SCORED)
    # The step after a scoring takes the memory of the state that was scored.
    assert [leaf.is_deleted() for leaf in seen] == [True, True, False]
    assert "best on the source domain: step" in capsys.readouterr().out
    losses, everything = lines(scored)
    assert losses == lines(plain)[1]
    scores = {
        one["step"]: one["sub/mIoU"]
        for one in map(json.loads, everything)
        if "sub/mIoU" in one
    }
    assert list(scores) == [2, 4, 6]
    steps, (best, last) = kept(scored)
    assert best == max(scores, key=lambda s: (scores[s], -s))
    assert last == 6 and {best, 6} <= steps

    # ---- stopped while it is scored, and started again --------------------------
    with monkeypatch.context() as patch, pytest.raises(Stopped):
        stops_while_scoring(patch, 2)
        start(tmp_path / "stopped", **SCORED)
    assert json.loads(lines(tmp_path / "stopped")[1][-1])["step"] == 4
    assert "sub/mIoU" not in lines(tmp_path / "stopped")[1][-1]
    stopped = start(tmp_path / "stopped", **SCORED)
    assert lines(stopped)[1] == everything
    assert kept(stopped)[1] == (best, last)

    # ---- the same bits at the end, and a step asked for twice -------------------
    (_, first), *others = (read_parameters(w) for w in (plain, scored, stopped))
    for step, other in others:
        assert step == 6
        assert all(first[path].tobytes() == other[path].tobytes() for path in first)
    with pytest.raises(ValueError, match="expected one of them"):
        trained.load_run(scored / "checkpoints" / "6", step="best")
