"""Collects the operators and the weights of an ONNX graph.

Maps are (N, C, h, w) inside the graph, as every runtime expects. All sizes are dynamic: where an operator
needs one, the graph computes it from the shape of another tensor.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import onnx
from onnx import helper, numpy_helper

from fcn_jax.models.grid import Grid

OPSET = 17
"""Version of the operators; ONNX Runtime 1.12, OpenVINO 2022.2 and TensorRT 8.6 know it."""
IR_VERSION = 8
"""Version of the file format that belongs to the opset; older runtimes refuse a newer one."""

DTYPES = {"float32": onnx.TensorProto.FLOAT, "uint8": onnx.TensorProto.UINT8}


class Map(NamedTuple):
    """A tensor (N, C, h, w) of the graph, by name, with its grid."""

    name: str
    grid: Grid = Grid()


class Graph:
    """A graph in the making.

    Attributes:
      nodes: the operators, in order.
      constants: weights and other constant tensors, by name.
      inputs, outputs: descriptions of the graph's own inputs and outputs.
    """

    def __init__(self):
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, np.ndarray] = {}
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []
        self._names: set[str] = set()

    def add(self, op: str, path: str, *inputs: str, name: str | None = None, **attributes: Any) -> str:
        """Appends an operator that has one output.

        Args:
          op: the operator's type.
          path: of the layer that it belongs to; the operator is called <path>.<op>.
          inputs: names of tensors; "" for an input that is left out.
          name: of the output; the operator's own by default.

        Returns:
          The name of the output.
        """
        own = self._unique(f"{path}.{op}")
        name = name or own
        self.nodes.append(helper.make_node(op, inputs, [name], name=own, **attributes))
        return name

    def constant(self, name: str, values: Any, dtype: Any = np.float32) -> str:
        """Adds a constant tensor; returns its name."""
        name = self._unique(name)
        self.constants[name] = np.ascontiguousarray(values, dtype)
        return name

    def input(self, name: str, dtype: str, shape: Sequence[int | str]) -> str:
        """Declares an input of the graph; returns its name."""
        self.inputs.append(helper.make_tensor_value_info(name, DTYPES[dtype], shape))
        return name

    def output(self, name: str, dtype: str, shape: Sequence[int | str]) -> None:
        """Declares a tensor as an output of the graph."""
        self.outputs.append(helper.make_tensor_value_info(name, DTYPES[dtype], shape))

    def to_proto(self, name: str) -> onnx.GraphProto:
        """Returns the graph as a message."""
        weights = [numpy_helper.from_array(array, name) for name, array in self.constants.items()]
        return helper.make_graph(self.nodes, name, self.inputs, self.outputs, weights)

    def _unique(self, name: str) -> str:
        number, unique = 1, name
        while unique in self._names:
            number += 1
            unique = f"{name}_{number}"
        self._names.add(unique)
        return unique
