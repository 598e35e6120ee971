"""The first signal is noticed, the second one ends; see test_resume for whole runs."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import pytest
from jax.experimental import multihost_utils

from crossearth_jax.run.stop import SIGNALS, Stopped, StopRequest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_is_noticed_at_the_next_step(number, caplog):
    with StopRequest() as stop:
        assert not stop.before(0)
        signal.raise_signal(number)
        assert stop.before(1)
        assert stop.before(2)
    assert "saving after this step" in caplog.text


@pytest.mark.parametrize("number", SIGNALS)
def test_the_second_signal_ends_at_once(number, monkeypatch):
    ends = []
    monkeypatch.setattr(os, "_exit", ends.append)
    with StopRequest():
        signal.raise_signal(SIGNALS[0])
        assert not ends
        signal.raise_signal(number)
    assert ends == [128 + number]


@pytest.mark.parametrize("number", SIGNALS)
def test_with_nothing_left_to_save_a_signal_ends_where_it_is(number):
    with pytest.raises(Stopped), StopRequest() as stop:
        stop.nothing_left_to_save()
        signal.raise_signal(number)
        pytest.fail("went on")


def test_a_signal_just_before_the_end_is_not_forgotten():
    with pytest.raises(Stopped), StopRequest() as stop:
        signal.raise_signal(signal.SIGTERM)
        stop.nothing_left_to_save()


def test_hosts_that_agreed_to_stop_do_not_evaluate(monkeypatch):
    # SIGTERM goes to JAX's runtime then, perhaps on another host.
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(
        multihost_utils, "reached_preemption_sync_point", lambda step: step == 3
    )
    with pytest.raises(Stopped), StopRequest() as stop:
        assert [stop.before(step) for step in (1, 2, 3)] == [False, False, True]
        stop.nothing_left_to_save()


def test_hosts_that_were_not_asked_to_stop_evaluate(monkeypatch):
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(
        multihost_utils, "reached_preemption_sync_point", lambda step: False
    )
    with StopRequest() as stop:
        assert not stop.before(3)
        stop.nothing_left_to_save()


def test_handlers_are_given_back():
    before = [signal.getsignal(number) for number in SIGNALS]
    with StopRequest():
        assert [signal.getsignal(number) for number in SIGNALS] != before
    assert [signal.getsignal(number) for number in SIGNALS] == before


BUSY = """
import time
from crossearth_jax.run.stop import StopRequest
with StopRequest():
    print("ready", flush=True)
    while True:
        time.sleep(0.01)
"""


def test_two_signals_end_a_process_that_never_reaches_a_step():
    process = subprocess.Popen(
        [sys.executable, "-c", BUSY],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        assert "asked to stop" in process.stderr.readline()
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 128 + signal.SIGTERM
        assert time.monotonic() - began < 5
    finally:
        process.kill()
        process.communicate()
