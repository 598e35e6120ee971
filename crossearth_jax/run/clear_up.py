"""Folders of checkpoints that failed or are damaged."""

import itertools
import shutil
import time
from pathlib import Path

from absl import logging


def reason_of(error: Exception) -> str:
    """One line; TensorStore's own are long, with the cause at their end."""
    if "No space left on device" in str(error):
        return "No space left on device"
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__


def remove(folder: Path) -> None:
    """Deletes a folder, into which a thread of Orbax may still be writing."""
    for _ in range(20):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(0.05)


def move_aside(folder: Path) -> None:
    """Renames to a name that is not a step."""
    target = folder.with_name(f"damaged_{folder.name}")
    for number in itertools.count(2):
        if not target.exists():
            break
        target = folder.with_name(f"damaged_{folder.name}_{number}")
    folder.rename(target)
    logging.warning("%s is now %s", folder, target.name)
