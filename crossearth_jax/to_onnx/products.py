"""Matrix products, convolutions and look-ups in ONNX, opset 17."""

import math
from collections.abc import Iterable

import numpy as np
from jax.extend.core import JaxprEqn
from jax.lax import GatherScatterMode

from crossearth_jax.to_onnx.graph import Graph, Value
from crossearth_jax.to_onnx.operations import Operation, shape_of, whole


def dot_general(graph: Graph, equation: JaxprEqn, a: Value, b: Value) -> Value:
    """A product over any axes: brought into the order of `MatMul`, and back.

    JAX's result has the axes [batch, free of a, free of b].
    """
    contracted, batch = equation.params["dimension_numbers"]
    a, b = whole(graph, equation, a, b)
    (ba, bb), (ca, cb) = batch, contracted
    fa, fb = _rest(a, ba, ca), _rest(b, bb, cb)
    a = graph.transpose(a, (*ba, *fa, *ca))
    b = graph.transpose(b, (*bb, *cb, *fb))
    shared, free, joined = (
        a.shape[: len(ba)],
        a.shape[len(ba) : len(ba) + len(fa)],
        math.prod(a.shape[len(ba) + len(fa) :]),
    )
    side = math.prod(b.shape[len(bb) + len(cb) :])
    if shared or not free:
        # Without a batch, `MatMul` takes any number of free axes as they are.
        free = (math.prod(free),)
    a = graph.reshape(a, (*shared, *free, joined))
    b = graph.reshape(b, (*shared, joined, side))
    product = graph.node("MatMul", a, b, shape=(*shared, *free, side))
    return graph.reshape(product, shape_of(equation))


def _rest(x: Value, *taken: Iterable[int]) -> tuple[int, ...]:
    used = {axis for axes in taken for axis in axes}
    return tuple(axis for axis in range(len(x.shape)) if axis not in used)


def convolution(graph: Graph, equation: JaxprEqn, x: Value, kernel: Value) -> Value:
    """Channels first, as `Conv` has it, and back.

    Raises:
      ValueError: the kernel moves by less than a pixel, as a transposed one does.
    """
    params, numbers = equation.params, equation.params["dimension_numbers"]
    if set(params["lhs_dilation"]) != {1} or params["batch_group_count"] != 1:
        raise ValueError(
            "got a transposed convolution, expected a plain one: export as stablehlo"
        )
    x, kernel = whole(graph, equation, x, kernel)
    before, after = zip(*params["padding"], strict=True)
    out = numbers.out_spec
    first = tuple(shape_of(equation)[axis] for axis in out)
    made = graph.node(
        "Conv",
        graph.transpose(x, numbers.lhs_spec),
        graph.transpose(kernel, numbers.rhs_spec),
        shape=first,
        strides=list(params["window_strides"]),
        pads=[*before, *after],
        dilations=list(params["rhs_dilation"]),
        group=params["feature_group_count"],
    )
    return graph.transpose(made, tuple(out.index(i) for i in range(len(out))))


def gather(graph: Graph, equation: JaxprEqn, x: Value, places: Value) -> Value:
    """Whole rows at places that lie inside, by `GatherND`.

    Raises:
      ValueError: parts of rows are read, or places may lie outside.
    """
    params, numbers = equation.params, equation.params["dimension_numbers"]
    shared, found = numbers.operand_batching_dims, numbers.start_index_map
    x, places = whole(graph, equation, x, places)
    rest = _rest(x, shared, found)
    if (
        params["mode"] != GatherScatterMode.PROMISE_IN_BOUNDS
        or set(numbers.collapsed_slice_dims) != set(found)
        or any(params["slice_sizes"][axis] != x.shape[axis] for axis in rest)
    ):
        raise ValueError(
            "got a look-up of parts of rows, or one that checks places, expected whole "
            "rows at places that lie inside: export as stablehlo"
        )
    together = numbers.start_indices_batching_dims
    last = len(places.shape) - 1
    # Axes of the places: those that x shares, the others, the place itself.
    order = [*together, *(i for i in range(last) if i not in together)]
    rows = graph.transpose(x, (*shared, *found, *rest))
    where = graph.cast(graph.transpose(places, (*order, last)), np.int64)
    shape = (*(places.shape[i] for i in order), *(x.shape[i] for i in rest))
    taken = graph.node("GatherND", rows, where, shape=shape, batch_dims=len(shared))
    places_left = iter(order.index(i) for i in range(last))
    rest_left = iter(range(last, len(shape)))
    return graph.transpose(
        taken,
        tuple(
            next(rest_left if axis in numbers.offset_dims else places_left)
            for axis in range(len(shape))
        ),
    )


PRODUCTS: dict[str, Operation] = {
    "conv_general_dilated": convolution,
    "dot_general": dot_general,
    "gather": gather,
}
