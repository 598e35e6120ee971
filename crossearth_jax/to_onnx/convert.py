"""A JAX function of weights and images as an ONNX graph of images alone."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.extend.core import Literal, Var
from jaxtyping import PyTree

from crossearth_jax.to_onnx.flatten import flattened
from crossearth_jax.to_onnx.fold import folded
from crossearth_jax.to_onnx.graph import Graph, Tensor, Value, aval
from crossearth_jax.to_onnx.operations import OPERATIONS
from crossearth_jax.to_onnx.products import PRODUCTS

OPSET = 17  # read by ONNX Runtime 1.12 and later
IR_VERSION = 8  # the file format of that time
MOST_BYTES = 2_000_000_000  # that a protocol buffer holds, with room for the nodes
_KNOWN = OPERATIONS | PRODUCTS


def onnx_model(
    function: Callable[[PyTree, jax.Array], jax.Array],
    weights: PyTree,
    like: jax.ShapeDtypeStruct,
    *,
    name: str,
    input_name: str = "image",
    output_name: str = "probabilities",
) -> Any:
    """Converts a function, with its weights as constants.

    Args:
      function: (weights, images) → one array.
      weights: arrays.
      like: shape and type of the images.
      name: of the graph.
      input_name: of the images in it.
      output_name: of the result.

    Returns:
      An `onnx.ModelProto`.

    Raises:
      ImportError: the extra `onnx` is not installed.
      ValueError: an operation is unknown, or the weights exceed what a file holds.
    """
    graph = Graph()
    closed = flattened(function, weights, like)
    equations, known = folded(closed, jax.tree.leaves(weights))
    image, result = closed.jaxpr.invars[-1], closed.jaxpr.outvars[0]
    values: dict[Var, Value] = {**known, image: Tensor(input_name, like.shape)}
    for equation in equations:
        inputs = [
            np.asarray(v.val, aval(v).dtype) if isinstance(v, Literal) else values[v]
            for v in equation.invars
        ]
        operation = _KNOWN.get(equation.primitive.name)
        if operation is None:
            raise ValueError(
                f"got the operation {equation.primitive.name}, expected those that "
                "the ONNX export knows: export as stablehlo"
            )
        made = operation(graph, equation, *inputs)
        several = isinstance(made, list)
        values |= zip(equation.outvars, made if several else [made], strict=True)
        if graph.bytes > MOST_BYTES:
            raise ValueError(
                f"got more than {MOST_BYTES / 1e9:g} GB of weights, expected no more, "
                "which is what an ONNX file holds: export as stablehlo"
            )
    shape = aval(result).shape
    last = graph.full(values[result], shape)
    graph.nodes.append(
        graph.onnx.helper.make_node("Identity", [graph.name(last)], [output_name])
    )
    return _model(graph, name, (input_name, like.shape), (output_name, shape))


def _model(
    graph: Graph,
    name: str,
    image: tuple[str, tuple[int, ...]],
    result: tuple[str, tuple[int, ...]],
) -> Any:
    make, float32 = graph.onnx.helper, graph.onnx.TensorProto.FLOAT
    ends = [[make.make_tensor_value_info(n, float32, s)] for n, s in (image, result)]
    body = make.make_graph(graph.nodes, name, *ends, graph.constants)
    opset = make.make_opsetid("", OPSET)
    return make.make_model(body, opset_imports=[opset], ir_version=IR_VERSION)
