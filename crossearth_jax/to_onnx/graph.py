"""An ONNX graph in the making."""

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from jax.core import ShapedArray
from jax.extend.core import Literal, Var

from crossearth_jax.system.extras import needed

SMALL = 16  # elements; constants with fewer are told apart by what they hold


@dataclass(frozen=True)
class Tensor:
    """A value that is known only when the graph runs.

    Attributes:
      name: in the graph.
      shape: with 1 where JAX has repeated an axis: operations of ONNX repeat it
        themselves.
    """

    name: str
    shape: tuple[int, ...]


Value = Tensor | np.ndarray


def aval(variable: Var | Literal) -> ShapedArray:
    """Shape and type of what an equation reads or makes, as JAX has them."""
    return cast(ShapedArray, variable.aval)


class Graph:
    """Nodes, and the arrays that they read, in order."""

    def __init__(self) -> None:
        self.onnx = needed("onnx", "an ONNX file", "onnx")
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.bytes = 0  # of the constants
        self._kept: dict[tuple, tuple[str, np.ndarray]] = {}
        self._names = 0

    def node(
        self, operation: str, *inputs: Value, shape: tuple[int, ...], **attributes: Any
    ) -> Tensor:
        """Adds an operation with one result, of the shape that is given."""
        return self.nodes_of(operation, inputs, [shape], **attributes)[0]

    def nodes_of(
        self,
        operation: str,
        inputs: tuple[Value, ...],
        shapes: list[tuple[int, ...]],
        **attributes: Any,
    ) -> list[Tensor]:
        """Adds an operation with several results."""
        names = [self.name(value) for value in inputs]
        made = [Tensor(self._fresh(), shape) for shape in shapes]
        self.nodes.append(
            self.onnx.helper.make_node(
                operation, names, [tensor.name for tensor in made], **attributes
            )
        )
        return made

    def name(self, value: Value) -> str:
        """Of a value; a known one becomes a constant."""
        if isinstance(value, Tensor):
            return value.name
        key = value.dtype.str, value.shape, value.strides
        key += (value.tobytes() if value.size < SMALL else value.ctypes.data,)
        if key not in self._kept:
            name = self._fresh()
            array = np.ascontiguousarray(value).reshape(value.shape)
            self.constants.append(self.onnx.numpy_helper.from_array(array, name))
            self.bytes += array.nbytes
            self._kept[key] = name, value  # kept, so that nothing takes its place
        return self._kept[key][0]

    def _fresh(self) -> str:
        self._names += 1
        return f"v{self._names}"

    # Shapes.

    def full(self, value: Value, shape: tuple[int, ...]) -> Value:
        """A value with all its axes repeated as JAX has them."""
        if value.shape == shape:
            return value
        return self.node("Expand", value, _whole(shape), shape=shape)

    def reshape(self, value: Value, shape: tuple[int, ...]) -> Value:
        """Another shape of as many elements."""
        if value.shape == shape:
            return value
        if isinstance(value, np.ndarray):
            return value.reshape(shape)
        return self.node("Reshape", value, _whole(shape), shape=shape)

    def transpose(self, value: Value, order: tuple[int, ...]) -> Value:
        """Axes in another order."""
        if order == tuple(range(len(order))):
            return value
        if isinstance(value, np.ndarray):
            return value.transpose(order)
        shape = tuple(value.shape[axis] for axis in order)
        return self.node("Transpose", value, shape=shape, perm=order)

    def cast(self, value: Value, dtype: Any) -> Value:
        """Another type of number."""
        if isinstance(value, np.ndarray):
            return value.astype(dtype)
        to = self.onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        return self.node("Cast", value, shape=value.shape, to=to)


def _whole(numbers: tuple[int, ...]) -> np.ndarray:
    return np.asarray(numbers, np.int64)
