"""Time of attention among a ViT's tokens: ours, JAX's own and PyTorch's.

`python -m benchmarks.attention`; batch, tokens, heads and their width are options.

All take the same float32 arrays, one after the other in every repetition, so that
other load on the machine meets all alike. The gradient is that of the sum of squares,
with respect to query, key and value. "all heads" is our formula without the loop over
heads.
"""

import argparse
import importlib
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from types import ModuleType

import jax
import jax.numpy as jnp
import numpy as np

from crossearth_jax.models.attention import all_heads, attend

Function = Callable[[], object]


OURS = "attend"
VARIANTS = {
    OURS: attend,
    "all heads": all_heads,
    "jax.nn.dot_product_attention": jax.nn.dot_product_attention,
}


def main(argv: Sequence[str]) -> None:
    """Measures all and prints medians, lowest to highest, and ratios to ours."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.attention")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--tokens", type=int, default=1025)
    parser.add_argument("--heads", type=int, default=16)
    parser.add_argument("--width", type=int, default=64, help="of a head")
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args(argv)
    shape = options.batch, options.tokens, options.heads, options.width
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=shape).astype(np.float32) for _ in range(3)]
    functions = {**in_jax(VARIANTS, arrays), **in_torch(arrays)}
    times = measure(functions, options.repeats)
    print(f"{jax.default_backend()}, jax {jax.__version__}, [B, N, h, d] = {shape}")
    print_times(times, OURS)


def print_times(times: dict[tuple[str, str], list[float]], reference: str) -> None:
    """Medians, lowest to highest, and ratios to the reference."""
    for what in ("forward", "gradient"):
        ours = statistics.median(times[reference, what])
        for name in dict.fromkeys(name for name, _ in times):
            found = [1e3 * seconds for seconds in times[name, what]]
            middle = statistics.median(found)
            spread = f"({min(found):.1f} to {max(found):.1f})"
            ratio = middle / (1e3 * ours)
            print(f"{what:9} {name:30} {middle:8.1f} ms {spread:18} {ratio:5.2f} x")


def in_jax(
    variants: dict[str, Callable[..., jax.Array]], arrays: Sequence[np.ndarray]
) -> dict[tuple[str, str], Function]:
    """Compiled functions of three arrays as functions without arguments, which wait."""
    found: dict[tuple[str, str], Function] = {}
    placed = [jnp.asarray(array) for array in arrays]

    def add(name: str, what: str, function: Callable[..., object]) -> None:
        compiled = jax.jit(function)
        found[name, what] = lambda: jax.block_until_ready(compiled(*placed))

    for name, function in variants.items():

        def loss(*qkv: jax.Array, f: Callable = function) -> jax.Array:
            return (f(*qkv) ** 2).sum()

        add(name, "forward", function)
        add(name, "gradient", jax.grad(loss, (0, 1, 2)))
    return found


def comparable_torch() -> ModuleType | None:
    """PyTorch; None where it is missing, or JAX computes on another device."""
    if jax.default_backend() != "cpu":
        return None
    try:
        return importlib.import_module("torch")
    except ImportError:
        print("PyTorch is not installed: pip install '.[test]'")
        return None


def in_torch(arrays: Sequence[np.ndarray]) -> dict[tuple[str, str], Function]:
    """PyTorch's attention, on the CPU; nothing where it is not installed."""
    if (torch := comparable_torch()) is None:
        return {}
    tensors = [
        torch.tensor(array.swapaxes(1, 2).copy(), requires_grad=True)
        for array in arrays
    ]
    attention = torch.nn.functional.scaled_dot_product_attention

    def forward() -> object:
        with torch.no_grad():
            return attention(*tensors)

    def gradient() -> object:
        return torch.autograd.grad((attention(*tensors) ** 2).sum(), tensors)

    name = f"PyTorch {torch.__version__}, SDPA"
    return {(name, "forward"): forward, (name, "gradient"): gradient}


def measure(
    functions: dict[tuple[str, str], Function], repeats: int
) -> dict[tuple[str, str], list[float]]:
    """Seconds of every repetition; the first one, which compiles, is left out."""
    times: dict[tuple[str, str], list[float]] = {name: [] for name in functions}
    for repeat in range(repeats + 1):
        for name, function in functions.items():
            begin = time.perf_counter()
            function()
            if repeat:
                times[name].append(time.perf_counter() - begin)
    return times


if __name__ == "__main__":
    main(sys.argv[1:])
