"""What of a function is known before it sees an image, computed once.

Tables of positions, resized position embeddings and products of weights become
constants. An array that is only repeated is kept as it was before.
"""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr, JaxprEqn, Literal, Var

from crossearth_jax.to_onnx.graph import aval

Known = dict[Var, np.ndarray]


def folded(closed: ClosedJaxpr, known: Sequence[Any]) -> tuple[list[JaxprEqn], Known]:
    """Computes all that does not depend on the last input.

    Args:
      closed: a flat jaxpr, see `flattened`.
      known: its inputs but the last.

    Returns:
      The equations that are left, and the arrays that they read. Those that JAX would
      repeat along an axis have length 1 there.
    """
    jaxpr = closed.jaxpr
    given = dict(zip(jaxpr.constvars, closed.consts, strict=True))
    given |= zip(jaxpr.invars[:-1], known, strict=True)
    before, after = _divided(_needed(jaxpr.eqns, jaxpr.outvars), set(given))
    made_by = {v: equation for equation in before for v in equation.outvars}
    read = [v for equation in after for v in _variables(equation.invars)]
    read = [v for v in dict.fromkeys(read) if v in given or v in made_by]
    # What is only repeated is left out: an operation of ONNX repeats it by itself.
    repeated = {
        v: made_by[v]
        for v in read
        if v in made_by and made_by[v].primitive.name == "broadcast_in_dim"
    }
    sources = _variables([equation.invars[0] for equation in repeated.values()])
    wanted = [v for v in (*read, *sources) if v not in given and v not in repeated]
    arrays = given | dict(zip(wanted, _computed(before, given, wanted), strict=True))
    found = {v: np.asarray(arrays[v]) for v in read if v not in repeated}
    for variable, equation in repeated.items():
        source = equation.invars[0]
        value = source.val if isinstance(source, Literal) else arrays[source]
        found[variable] = _thin(np.asarray(value, aval(variable).dtype), equation)
    return after, found


def _variables(operands: Sequence[Any]) -> list[Var]:
    return [v for v in operands if isinstance(v, Var)]


def _divided(
    equations: Sequence[JaxprEqn], fixed: set[Var]
) -> tuple[list[JaxprEqn], list[JaxprEqn]]:
    """Those that depend on `fixed` alone, and the others."""
    before, after = [], []
    for equation in equations:
        if fixed.issuperset(_variables(equation.invars)):
            fixed.update(equation.outvars)
            before.append(equation)
        else:
            after.append(equation)
    return before, after


def _thin(source: np.ndarray, equation: JaxprEqn) -> np.ndarray:
    """With axes of length 1 where `broadcast_in_dim` would repeat."""
    shape = [1] * len(aval(equation.outvars[0]).shape)
    for axis, place in enumerate(equation.params["broadcast_dimensions"]):
        shape[place] = source.shape[axis]
    return source.reshape(shape)


def _needed(equations: Sequence[JaxprEqn], results: Sequence[Any]) -> list[JaxprEqn]:
    """Those that the results depend on."""
    wanted = set(_variables(results))
    kept = []
    for equation in reversed(equations):
        if wanted & set(equation.outvars):
            wanted.update(_variables(equation.invars))
            kept.append(equation)
    return kept[::-1]


def _computed(
    equations: Sequence[JaxprEqn], given: dict[Var, Any], wanted: Sequence[Var]
) -> list[np.ndarray]:
    """By one compiled program, whose inputs are weights: nothing is folded twice."""
    names = list(given)

    @jax.jit
    def program(inputs: list[jax.Array]) -> list[jax.Array]:
        values = dict(zip(names, inputs, strict=True))
        for equation in equations:
            operands = [
                v.val if isinstance(v, Literal) else values[v] for v in equation.invars
            ]
            made = equation.primitive.bind(*operands, **equation.params)
            several = equation.primitive.multiple_results
            values |= zip(equation.outvars, made if several else [made], strict=True)
        return [values[v] for v in wanted]

    return [np.asarray(x) for x in program([given[v] for v in names])]
