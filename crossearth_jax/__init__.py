"""CrossEarth in JAX/Flax: cross-domain remote-sensing semantic segmentation.

    import crossearth_jax as ce

    run = ce.load("runs/folder")
    classes = run.predict(image)  # uint8 [H, W, 3] -> uint8 [H, W]
    print(ce.score(classes, truth, run.classes).miou)

See docs/library.md. What `__all__` lists is kept stable; all else may change.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crossearth_jax.library.run import Run, load
    from crossearth_jax.library.scores import Scores, score

__all__ = ["Run", "Scores", "__version__", "load", "score"]
__version__ = "0.1.0"

# Imported when they are asked for: `import crossearth_jax` alone brings no JAX.
_HOMES = {"Run": "run", "Scores": "scores", "load": "run", "score": "scores"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = importlib.import_module(f"{__name__}.library.{_HOMES[name]}")
    return getattr(home, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
