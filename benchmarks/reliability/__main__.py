"""`python -m benchmarks.reliability kills | …`: figures of docs/reliability.md.

Every measurement runs the tiny configuration in processes of its own on the CPU,
prints what it finds and ends with an error if something is not as promised.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.reliability import dead_hosts, disk, flips, hostile, kills, stops


def main(argv: Sequence[str]) -> None:
    """Runs one measurement."""
    options = _options(argv)
    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.folder or Path(temporary)).absolute()
        match options.measurement:
            case "kills":
                kills.measure(folder, options.runs, options.steps, options.seed)
            case "flips":
                flips.measure(folder, options.samples, options.seed)
            case "stop":
                stops.measure(folder, options.repeats, options.seed)
            case "full-disk":
                disk.measure(folder)
            case "hosts-kill":
                dead_hosts.measure(folder, options.repeats)
            case "hostile":
                hostile.measure(folder, options.cases, options.seed)


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reliability")
    parser.add_argument("--folder", type=Path, help="kept; default a temporary one")
    parser.add_argument("--seed", type=int, default=0, help="of the random moments")
    measurement = parser.add_subparsers(dest="measurement", required=True)
    one = measurement.add_parser("kills", help="SIGKILL at random moments")
    one.add_argument("--runs", type=int, default=50, help="how many kills")
    one.add_argument("--steps", type=int, default=40, help="of an undisturbed run")
    one = measurement.add_parser("flips", help="damaged checkpoint files")
    one.add_argument("--samples", type=int, default=150)
    one = measurement.add_parser("stop", help="SIGTERM and SIGINT")
    one.add_argument("--repeats", type=int, default=5)
    measurement.add_parser("full-disk", help="needs root: mounts a small tmpfs")
    one = measurement.add_parser("hosts-kill", help="one of two hosts ends")
    one.add_argument("--repeats", type=int, default=2)
    one = measurement.add_parser("hostile", help="damaged and hostile files")
    one.add_argument("--cases", type=int, default=2_000)
    return parser.parse_args(argv)


if __name__ == "__main__":
    main(sys.argv[1:])
