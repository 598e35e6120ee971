"""What JAX's operations are in ONNX, opset 17, but for products and look-ups.

An operation takes the graph, JAX's equation and the values of its inputs, and returns
the value of its result, or of all its results.
"""

from collections.abc import Callable

import numpy as np
from jax.extend.core import JaxprEqn

from crossearth_jax.to_onnx.graph import Graph, Value, aval

OneResult = Callable[..., Value]
Operation = OneResult | Callable[..., list[Value]]


def shape_of(equation: JaxprEqn) -> tuple[int, ...]:
    """Of an equation's first result, as JAX has it."""
    return aval(equation.outvars[0]).shape


def whole(graph: Graph, equation: JaxprEqn, *inputs: Value) -> list[Value]:
    """The first inputs of an equation, their axes repeated as JAX has them."""
    given = zip(inputs, equation.invars, strict=False)
    return [graph.full(x, aval(variable).shape) for x, variable in given]


def simple(name: str, **attributes: str | int | float) -> OneResult:
    """One operation of ONNX, element by element."""

    def operation(graph: Graph, equation: JaxprEqn, *inputs: Value) -> Value:
        shape = np.broadcast_shapes(*(x.shape for x in inputs))
        return graph.node(name, *inputs, shape=shape, **attributes)

    return operation


def same(graph: Graph, equation: JaxprEqn, x: Value) -> Value:
    """What matters to derivatives or to the compiler alone."""
    return x


def square(graph: Graph, equation: JaxprEqn, x: Value) -> Value:
    """x²."""
    return graph.node("Mul", x, x, shape=x.shape)


def integer_pow(graph: Graph, equation: JaxprEqn, x: Value) -> Value:
    """X to the power of a number that is known."""
    power = np.float32(equation.params["y"])
    return graph.node("Pow", x, np.asarray(power), shape=x.shape)


def rsqrt(graph: Graph, equation: JaxprEqn, x: Value) -> Value:
    """1 / √x."""
    root = graph.node("Sqrt", x, shape=x.shape)
    return graph.node("Reciprocal", root, shape=x.shape)


def erfc(graph: Graph, equation: JaxprEqn, x: Value) -> Value:
    """1 - erf x."""
    erf = graph.node("Erf", x, shape=x.shape)
    return graph.node("Sub", np.ones((), np.float32), erf, shape=x.shape)


def not_equal(graph: Graph, equation: JaxprEqn, x: Value, y: Value) -> Value:
    """Whether two values differ."""
    equal = simple("Equal")(graph, equation, x, y)
    return graph.node("Not", equal, shape=equal.shape)


def select(graph: Graph, equation: JaxprEqn, which: Value, *cases: Value) -> Value:
    """The second case where `which` is true."""
    if aval(equation.invars[0]).dtype != bool:
        raise ValueError(
            "got a choice among several cases, expected one of two: export as stablehlo"
        )
    no, yes = cases
    return simple("Where")(graph, equation, which, yes, no)


def convert(graph: Graph, equation: JaxprEqn, x: Value) -> Value:
    """Another type of number."""
    to = aval(equation.outvars[0]).dtype
    return x if aval(equation.invars[0]).dtype == to else graph.cast(x, to)


# Shapes.


def broadcast(graph: Graph, equation: JaxprEqn, x: Value) -> Value:
    """New axes of length 1, which operations repeat where they need to."""
    shape = [1] * len(shape_of(equation))
    for axis, place in enumerate(equation.params["broadcast_dimensions"]):
        shape[place] = x.shape[axis]
    return graph.reshape(x, tuple(shape))


def reshape(graph: Graph, equation: JaxprEqn, x: Value) -> Value:
    """Also `squeeze` and `expand_dims`."""
    (full,) = whole(graph, equation, x)
    return graph.reshape(full, shape_of(equation))


def transpose(graph: Graph, equation: JaxprEqn, x: Value) -> Value:
    """Axes in another order."""
    return graph.transpose(x, tuple(equation.params["permutation"]))


def concatenate(graph: Graph, equation: JaxprEqn, *parts: Value) -> Value:
    """One after another along an axis."""
    full = whole(graph, equation, *parts)
    axis = equation.params["dimension"]
    return graph.node("Concat", *full, shape=shape_of(equation), axis=axis)


def stack(graph: Graph, equation: JaxprEqn, *parts: Value) -> Value:
    """One after another along a new axis."""
    axis, shape = equation.params["axis"], shape_of(equation)
    piece = (*shape[:axis], 1, *shape[axis + 1 :])
    pieces = [graph.reshape(x, piece) for x in whole(graph, equation, *parts)]
    return graph.node("Concat", *pieces, shape=shape, axis=axis)


def unstack(graph: Graph, equation: JaxprEqn, x: Value) -> list[Value]:
    """The entries of an axis."""
    axis, (full,) = equation.params["axis"], whole(graph, equation, x)
    parts = _split(graph, full, axis, [1] * full.shape[axis])
    return [graph.reshape(part, shape_of(equation)) for part in parts]


def split(graph: Graph, equation: JaxprEqn, x: Value) -> list[Value]:
    """Pieces along an axis."""
    axis, sizes = equation.params["axis"], list(equation.params["sizes"])
    (full,) = whole(graph, equation, x)
    return _split(graph, full, axis, sizes)


def _split(graph: Graph, x: Value, axis: int, sizes: list[int]) -> list[Value]:
    shapes = [(*x.shape[:axis], size, *x.shape[axis + 1 :]) for size in sizes]
    inputs = x, np.asarray(sizes, np.int64)
    return [*graph.nodes_of("Split", inputs, shapes, axis=axis)]


def cut(graph: Graph, equation: JaxprEqn, x: Value) -> Value:
    """`slice`: from, to, and every n-th along each axis."""
    params, (full,) = equation.params, whole(graph, equation, x)
    axes = range(len(full.shape))
    strides = params["strides"] or [1] * len(axes)
    limits = params["start_indices"], params["limit_indices"], axes, strides
    numbers = [np.asarray(list(limit), np.int64) for limit in limits]
    return graph.node("Slice", full, *numbers, shape=shape_of(equation))


def pad(graph: Graph, equation: JaxprEqn, x: Value, filling: Value) -> Value:
    """A value around an array."""
    before, after, between = zip(*equation.params["padding_config"], strict=True)
    if any(between) or min(*before, *after) < 0:
        raise ValueError(
            "got padding between elements, or below 0, expected some around them: "
            "export as stablehlo"
        )
    (full,) = whole(graph, equation, x)
    if not any((*before, *after)):
        return full
    widths = np.asarray([*before, *after], np.int64)
    return graph.node("Pad", full, widths, filling, shape=shape_of(equation))


# Reductions.


def reduce_sum(graph: Graph, equation: JaxprEqn, x: Value) -> Value:
    """Sum over axes."""
    (full,) = whole(graph, equation, x)
    axes = np.asarray(equation.params["axes"], np.int64)
    return graph.node("ReduceSum", full, axes, shape=shape_of(equation), keepdims=0)


def extreme(name: str) -> OneResult:
    """Largest or smallest value over axes; of truths "any" or "all"."""

    def operation(graph: Graph, equation: JaxprEqn, x: Value) -> Value:
        (full,) = whole(graph, equation, x)
        truths = aval(equation.invars[0]).dtype == bool
        found = graph.node(
            name,
            graph.cast(full, np.int32) if truths else full,
            shape=shape_of(equation),
            axes=list(equation.params["axes"]),
            keepdims=0,
        )
        return graph.cast(found, np.bool_) if truths else found

    return operation


OPERATIONS: dict[str, Operation] = {
    "abs": simple("Abs"),
    "add": simple("Add"),
    "and": simple("And"),
    "ceil": simple("Ceil"),
    "cos": simple("Cos"),
    "div": simple("Div"),
    "eq": simple("Equal"),
    "erf": simple("Erf"),
    "exp": simple("Exp"),
    "floor": simple("Floor"),
    "ge": simple("GreaterOrEqual"),
    "gt": simple("Greater"),
    "le": simple("LessOrEqual"),
    "log": simple("Log"),
    "logistic": simple("Sigmoid"),
    "lt": simple("Less"),
    "max": simple("Max"),
    "min": simple("Min"),
    "mul": simple("Mul"),
    "neg": simple("Neg"),
    "not": simple("Not"),
    "or": simple("Or"),
    "pow": simple("Pow"),
    "sign": simple("Sign"),
    "sin": simple("Sin"),
    "sqrt": simple("Sqrt"),
    "sub": simple("Sub"),
    "tanh": simple("Tanh"),
    "broadcast_in_dim": broadcast,
    "concatenate": concatenate,
    "convert_element_type": convert,
    "copy": same,
    "erfc": erfc,
    "expand_dims": reshape,
    "integer_pow": integer_pow,
    "ne": not_equal,
    "optimization_barrier": same,
    "pad": pad,
    "reduce_and": extreme("ReduceMin"),
    "reduce_max": extreme("ReduceMax"),
    "reduce_min": extreme("ReduceMin"),
    "reduce_or": extreme("ReduceMax"),
    "reduce_sum": reduce_sum,
    "reshape": reshape,
    "rsqrt": rsqrt,
    "select_n": select,
    "slice": cut,
    "split": split,
    "square": square,
    "squeeze": reshape,
    "stack": stack,
    "stop_gradient": same,
    "transpose": transpose,
    "unstack": unstack,
}
