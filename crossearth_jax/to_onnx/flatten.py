"""A traced function as one list of operations: no calls, loops, or platforms.

A call is replaced by what it calls; a loop of known length by its steps, one after
another; a choice by platform by what is for every platform.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.core import Tracer
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal

_BODIES = ("jaxpr", "call_jaxpr")  # what calls call their function


def flattened(function: Callable[..., jax.Array], *like: Any) -> ClosedJaxpr:
    """Traces a function of pytrees.

    Args:
      function: of arrays.
      like: shapes and types of its arguments.

    Returns:
      A jaxpr whose equations contain no other; its inputs are the leaves of `like`.

    Raises:
      ValueError: a branch or the length of a loop depends on the arguments.
    """
    traced = jax.make_jaxpr(function)(*like)
    run = partial(_run, traced.jaxpr, traced.consts)
    return jax.make_jaxpr(run)(*jax.tree.leaves(like))


def _run(jaxpr: Jaxpr, constants: Sequence[Any], *arguments: Any) -> list[Any]:
    values = dict(zip(jaxpr.constvars, constants, strict=True))
    values |= zip(jaxpr.invars, arguments, strict=True)
    for equation in jaxpr.eqns:
        inputs = [
            v.val if isinstance(v, Literal) else values[v] for v in equation.invars
        ]
        outputs = _results(equation, inputs)
        values |= zip(equation.outvars, outputs, strict=True)
    return [v.val if isinstance(v, Literal) else values[v] for v in jaxpr.outvars]


def _results(equation: JaxprEqn, inputs: list[Any]) -> Sequence[Any]:
    name, params = equation.primitive.name, equation.params
    if name == "scan":
        return _steps(params, inputs)
    if name == "platform_index":
        return [_for_every_platform(params["platforms"])]
    if name == "cond":
        return _branch(params, inputs)
    if name == "while":
        raise ValueError(
            "got a loop whose length depends on the image, expected one of known "
            "length: export as stablehlo"
        )
    for key in _BODIES:
        if key in params:
            return _called(params[key], inputs)
    outputs = equation.primitive.bind(*inputs, **params)
    return outputs if equation.primitive.multiple_results else [outputs]


def _called(body: Jaxpr | ClosedJaxpr, inputs: Sequence[Any]) -> list[Any]:
    if isinstance(body, ClosedJaxpr):
        return _run(body.jaxpr, body.consts, *inputs)
    return _run(body, (), *inputs)


def _for_every_platform(platforms: Sequence[Sequence[str] | None]) -> int:
    """The branch of no platform in particular; without one that of CPUs."""
    if None in platforms:
        return platforms.index(None)
    return next(i for i, names in enumerate(platforms) if "cpu" in (names or ()))


def _branch(params: dict[str, Any], inputs: list[Any]) -> list[Any]:
    index, *arguments = inputs
    if isinstance(index, Tracer):
        raise ValueError(
            "got a branch that depends on the image, expected none: export as stablehlo"
        )
    return _called(params["branches"][int(index)], arguments)


def _steps(params: dict[str, Any], inputs: list[Any]) -> list[Any]:
    """A loop, unrolled."""
    constants, carries = params["num_consts"], params["num_carry"]
    fixed, state = inputs[:constants], inputs[constants : constants + carries]
    lists, order = inputs[constants + carries :], range(params["length"])
    rows: list[list[Any]] = []
    for i in reversed(order) if params["reverse"] else order:
        here = [jax.lax.index_in_dim(x, i, keepdims=False) for x in lists]
        made = _called(params["jaxpr"], [*fixed, *state, *here])
        state = made[:carries]
        rows.append(made[carries:])
    if params["reverse"]:
        rows.reverse()
    return [*state, *(jnp.stack(column) for column in zip(*rows, strict=True))]
