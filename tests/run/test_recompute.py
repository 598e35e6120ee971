"""`backbone.remat` "auto": decided by memory, once for a run."""

from unittest import mock

import pytest
from tiny import get_config

from crossearth_jax import train
from crossearth_jax.config import default
from crossearth_jax.config_file import write_config
from crossearth_jax.run import recompute
from crossearth_jax.system import device_memory

GB = 10**9


@pytest.mark.parametrize(
    ("need", "have", "expected"),
    [
        (50 * GB, 80 * GB, False),
        (75 * GB, 80 * GB, True),
        (98 * GB, 80 * GB, True),
        (None, 80 * GB, False),
        (98 * GB, None, False),
    ],
)
def test_memory_decides(monkeypatch, need, have, expected):
    monkeypatch.setattr(device_memory, "available", lambda: have)
    assert recompute.decided("auto", lambda: need) is expected


@pytest.mark.parametrize("value", [True, False])
def test_what_is_stated_is_taken_without_a_look(tmp_path, value):
    assert recompute.as_before(value, tmp_path) is value
    assert recompute.decided(value, None) is value


@pytest.mark.parametrize("value", [True, False])
def test_a_run_keeps_what_it_decided(tmp_path, value):
    config = default()
    config.backbone.remat = value
    write_config(config, tmp_path)
    assert recompute.as_before("auto", tmp_path) is value


def test_any_other_word_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"got backbone.remat='maybe', expected True"):
        recompute.as_before("maybe", tmp_path)


@pytest.mark.parametrize(("have", "expected"), [(1_000, True), (10**15, False)])
def test_the_set_up_takes_what_is_decided(tmp_path, monkeypatch, have, expected):
    config = get_config()
    config.backbone.remat = "auto"
    traced = []

    def noted(*arguments):
        traced.append(arguments)
        return mock.MagicMock()  # compiles to what says no memory

    monkeypatch.setattr(train, "traced_step", noted)
    monkeypatch.setattr(device_memory, "needed", lambda _: GB)
    monkeypatch.setattr(device_memory, "available", lambda: have)
    decided, setup = train.set_up_in_memory(config, tmp_path)
    assert decided.backbone.remat is expected
    assert setup.network.model.remat is expected
    assert config.backbone.remat == "auto" and len(traced) == 1
    write_config(decided, tmp_path)
    _, again = train.set_up_in_memory(config, tmp_path)
    assert again.network.model.remat is expected and len(traced) == 1
