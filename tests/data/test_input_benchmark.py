import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


def test_input_benchmark_measures_all_readers(tmp_path):
    file = tmp_path / "speed.json"
    small = "--count 4 --size 48 --crop 32 --crops 16 --warm 8 --repeats 2 --grid 0x1"
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.input", *small.split(), "--json", file],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(file.read_text())
    assert [r["reader"] for r in found["rows"]] == ["png", "packed", "torch"]
    for row in found["rows"]:
        assert len(row["crops_per_s"]) == 2 and min(row["crops_per_s"]) > 0
        assert all(speed > 0 for speed in row["crops_per_cpu_s"])
    assert 3_000 < found["bytes_per_image"] < 7_000
    assert {"processor", "cores", "load", "grain"} <= found["machine"].keys()
    assert "| packed | 0 | 1 |" in done.stdout
