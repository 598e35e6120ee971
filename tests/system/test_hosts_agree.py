"""Two processes that differ in one thing end with its name; without a model."""

import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.reliability.runs import free_address
from crossearth_jax.system import hosts

ROOT = Path(__file__).parents[2]

HOST = """
import sys
from types import SimpleNamespace
import numpy as np
from crossearth_jax import config
from crossearth_jax.build_data import build_data
from crossearth_jax.models.parameters import digest_of_arrays
from crossearth_jax.run import agreement, provenance
from crossearth_jax.run_settings import read_settings
from crossearth_jax.system import hosts

address, index, folder, weight, initial = sys.argv[1:]
hosts.join(address, 2, int(index))
with hosts.leave_together():
    settings = config.default()
    settings.data.train = folder
    origin = provenance.collect(42, build_data(read_settings(settings).data))
    network = SimpleNamespace(
        digest=digest_of_arrays({"a": np.float32([float(weight)])}),
        trainable={"b": np.float32([float(initial)])},
    )
    agreement.check("the same", origin, network)
    print("agreed", flush=True)
"""


def write(folder, values):
    for kind, mode in (("images", "RGB"), ("labels", "L")):
        (folder / kind).mkdir(parents=True)
        image = Image.new(mode, (8, 8))
        if mode == "L":
            image = Image.fromarray(np.asarray(values, np.uint8).reshape(8, 8))
        image.save(folder / kind / "a.tif")  # not compressed: as many bytes


@pytest.mark.slow
@pytest.mark.parametrize("differs", ["nothing", "contents", "code", "weights", "start"])
def test_two_hosts_that_differ_end_with_the_reason(tmp_path, differs):
    places, code = [tmp_path / "a", tmp_path / "b"], [ROOT, ROOT]
    for place in places:
        write(place, [0, 1] * 32)
    if differs == "contents":
        shutil.rmtree(places[1])
        write(places[1], [1, 0] * 32)  # as many bytes
    if differs == "code":
        code[1] = tmp_path / "code"
        shutil.copytree(ROOT / "crossearth_jax", code[1] / "crossearth_jax")
        with (code[1] / "crossearth_jax" / "optim.py").open("a") as file:
            file.write("# changed\n")
    weights = ["1", "2" if differs == "weights" else "1"]
    initial = ["1", "2" if differs == "start" else "1"]
    address = free_address()
    processes = [
        subprocess.Popen(
            [
                *(sys.executable, "-c", HOST, address, str(i), str(places[i])),
                *(weights[i], initial[i]),
            ],
            cwd=code[i],
            env=os.environ | {"PYTHONPATH": str(code[i]), "JAX_PLATFORMS": "cpu"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for i in range(2)
    ]
    ended = [(p.communicate(timeout=200), p.returncode) for p in processes]
    named = {"start": "initial weights"}.get(differs, differs)
    for (said, errors), status in ended:
        if differs == "nothing":
            assert status == 0 and "agreed" in said, errors
        else:
            assert status == hosts.FAILED, errors
            assert f"got host 1 with another {named} than host 0" in errors


@pytest.mark.slow
@pytest.mark.parametrize("port", ["closed", "no such host"])
def test_a_coordinator_that_does_not_answer_is_one_line(tmp_path, port):
    """Through the front door, within 30 s; JAX alone needs five minutes."""
    address = free_address() if port == "closed" else "no-such-host.invalid:29500"
    begin = time.monotonic()
    done = subprocess.run(
        [
            *(sys.executable, "-m", "crossearth_jax.main", "--config", "tests/tiny.py"),
            *("--workdir", str(tmp_path / "run")),
            *("--coordinator", address, "--hosts", "2", "--host", "1"),
        ],
        cwd=ROOT,
        env=os.environ | {"CROSSEARTH_JOIN_SECONDS": "2"},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert hosts.JOIN_SECONDS < 30 and time.monotonic() - begin < 60
    assert done.returncode == 1
    (line,) = [x for x in done.stderr.splitlines() if x.startswith("error: ")]
    assert f"no answer from host 0 at --coordinator={address} within 2 s" in line
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_hosts_that_never_come_are_one_line():
    """JAX alone ends such a host after five minutes, with a trace of its C++."""
    code = (
        f"from crossearth_jax.system import hosts; hosts.join({free_address()!r}, 2, 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | {"CROSSEARTH_JOIN_SECONDS": "1", "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == hosts.FAILED
    (line,) = [x for x in done.stderr.splitlines() if "got no answer from some" in x]
    assert "within 1 s" in line and "start all" in line
    assert "coordination" not in done.stderr


def answering(listening, words):
    """Answers every connection with the same bytes."""
    while True:
        try:
            connection, _ = listening.accept()
        except OSError:
            return
        with connection:
            connection.recv(64)
            connection.sendall(words)


@pytest.fixture
def listener():
    """Starts a service that says the same to everybody; gives its address."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def start(words):
            thread = threading.Thread(target=answering, args=(listening, words))
            thread.start()
            threads.append(thread)
            return f"127.0.0.1:{listening.getsockname()[1]}"

        threads = []
        yield start
        listening.shutdown(socket.SHUT_RDWR)
    for thread in threads:
        thread.join()


@pytest.mark.parametrize("words", [b"HTTP/1.1 400 Bad Request", b"SSH-2.0-x", b""])
def test_another_service_at_the_address_is_not_host_0(listener, monkeypatch, words):
    monkeypatch.setenv(hosts.PATIENCE, "0.1")
    address = listener(words)
    with pytest.raises(ValueError, match=r"no answer.*is not host 0 of a run"):
        hosts.join(address, 2, 1)


@pytest.mark.parametrize("address", ["a:x", "a:", ":1", "a:99999"])
def test_an_address_is_checked_before_anybody_waits(address, monkeypatch):
    with pytest.raises(ValueError, match="expected HOST:PORT"):
        hosts.join(address, 2, 1)
    monkeypatch.setenv("JAX_COORDINATOR_ADDRESS", address)
    monkeypatch.setenv("JAX_PROCESS_ID", "1")
    with pytest.raises(ValueError, match="expected HOST:PORT"):
        hosts.join()


@pytest.mark.parametrize("seconds", ["soon", "-1", "0", "nan", ""])
def test_a_patience_that_is_no_time_is_refused(seconds, monkeypatch):
    monkeypatch.setenv(hosts.PATIENCE, seconds)
    with pytest.raises(ValueError, match=f"{hosts.PATIENCE}={seconds}, expected sec"):
        hosts.join(free_address(), 2, 1)


def test_host_0_may_start_a_little_later(listener, monkeypatch):
    address = listener(hosts.HTTP2_SETTINGS)
    joined, real = [], socket.create_connection

    def refuse_twice(*arguments, **more):
        joined.append(arguments)
        if len(joined) < 3:
            raise ConnectionRefusedError("refused")
        return real(*arguments, **more)

    monkeypatch.setattr(socket, "create_connection", refuse_twice)
    monkeypatch.setattr(hosts.jax.distributed, "initialize", lambda *a, **k: None)
    hosts.join(address, 2, 1)
    assert len(joined) == 3
    hosts.join(address, 2, 0)  # host 0 asks nobody
    assert len(joined) == 3
