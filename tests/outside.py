"""Where the tests find what is not part of the project, and what skips without it.

The authors' recorded numbers and weights (`CROSSEARTH_FIXTURES`), real images
(`CROSSEARTH_REALDATA`) and the paper's text (`CROSSEARTH_PAPER`); each is looked for in
`shared/` beside the clone where its variable is not set.
"""

import os
from pathlib import Path

import pytest

BESIDE = Path(__file__).resolve().parents[2] / "shared"
FIXTURES = Path(os.environ.get("CROSSEARTH_FIXTURES", BESIDE / "fixtures"))
REALDATA = Path(os.environ.get("CROSSEARTH_REALDATA", BESIDE / "realdata"))
PAPER = Path(os.environ.get("CROSSEARTH_PAPER", BESIDE / "paper.md"))
HOW_TO_RUN_PARITY = "set CROSSEARTH_FIXTURES to their folder"


def needs_fixtures(*names):
    """Skips what compares with the authors' recorded files where one is absent."""
    missing = [name for name in names if not (FIXTURES / name).is_file()]
    reason = f"no {', '.join(missing)} in {FIXTURES}: {HOW_TO_RUN_PARITY}"
    return pytest.mark.skipif(bool(missing), reason=reason)


def needs_realdata(part):
    """Skips what reads real images where that part of them is absent."""
    folder = REALDATA / part
    reason = f"no {folder}: set CROSSEARTH_REALDATA"
    return pytest.mark.skipif(not folder.is_dir(), reason=reason)


needs_paper = pytest.mark.skipif(
    not PAPER.is_file(), reason=f"no {PAPER}: set CROSSEARTH_PAPER"
)
