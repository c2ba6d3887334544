# SPDX-License-Identifier: Apache-2.0
"""Values of an ONNX graph, and the element types in which operators are run.

A value may be held smaller than its type says: broadcasts wait until an operator needs them written out, because the
elementwise operators of ONNX broadcast for nothing.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
import onnx
from onnx import TensorProto

from egraph_opt.errors import UnsupportedOpError
from egraph_opt.ir import TensorType

OPSET = 18
"""Opset of the files: the oldest that has all operators used here, read by onnxruntime from 1.14 on."""

IR_VERSIONS = {18: 8, 19: 9}
"""Format version that goes with an opset."""

_CODES = {
    "bool": TensorProto.BOOL,
    "float16": TensorProto.FLOAT16,
    "bfloat16": TensorProto.BFLOAT16,
    "float32": TensorProto.FLOAT,
    "float64": TensorProto.DOUBLE,
    **{f"{sign}int{n}": getattr(TensorProto, f"{sign}int{n}".upper()) for sign in ("", "u") for n in (8, 16, 32, 64)},
    "float8_e4m3fn": TensorProto.FLOAT8E4M3FN,
    "float8_e4m3fnuz": TensorProto.FLOAT8E4M3FNUZ,
    "float8_e5m2": TensorProto.FLOAT8E5M2,
    "float8_e5m2fnuz": TensorProto.FLOAT8E5M2FNUZ,
}
_NAMES = {f"tensor({TensorProto.DataType.Name(code).lower()})": name for name, code in _CODES.items()}

ARITHMETIC = frozenset({"float16", "float32", "float64", "int32", "int64"})
_EVERY = frozenset(_CODES)
_WHOLE = frozenset(name for name in _CODES if "int" in name)
_MOVED = _EVERY - {"bfloat16"} - {name for name in _CODES if name.startswith("float8")}
_FLOATS = frozenset({"float16", "float32", "float64"})

_RUN = {
    **dict.fromkeys(("Transpose", "Reshape", "Slice", "Concat", "Split", "Gather", "GatherElements"), _EVERY),
    **dict.fromkeys(("GatherND", "ScatterND", "Identity", "Cast", "Sign", "Mod"), _EVERY),
    **dict.fromkeys(("Expand", "Tile"), _MOVED),
    "Pad": _MOVED - {"int16", "uint16"},
    "Where": ARITHMETIC | {"uint8", "uint32"},
    **dict.fromkeys(("Max", "Min", "MatMul"), ARITHMETIC | {"uint32", "uint64"}),
    **dict.fromkeys(("Div", "Less", "LessOrEqual", "Greater", "GreaterOrEqual"), ARITHMETIC | {"uint32", "uint64"}),
    "ReduceSum": ARITHMETIC - {"int32"},  # onnxruntime adds integers up in float64, and then saturates
    "Equal": ARITHMETIC | {"bool", "uint32", "uint64"},
    **dict.fromkeys(("BitwiseAnd", "BitwiseOr", "BitwiseXor", "BitwiseNot"), _WHOLE),
    "BitShift": frozenset({"uint8", "uint32", "uint64"}),
    **dict.fromkeys(("Gemm", "Conv", "ConvTranspose", "MaxPool", "AveragePool"), _FLOATS),
}
"""Element types in which runtimes have an operator, where that is not plain arithmetic.

onnxruntime inserts casts for float16 by itself, and GPUs have it natively, so it stands as it is.
"""

_WIDER = {
    "bool": ("uint8", "int32"),
    **dict.fromkeys(("int8", "int16", "uint8"), ("int32", "int64")),
    "uint16": ("int32", "uint32", "int64"),
    **dict.fromkeys(("int32", "uint32"), ("int64",)),
    "bfloat16": ("float32",),
    "float16": ("float32",),
    **dict.fromkeys((name for name in _CODES if name.startswith("float8")), ("float32",)),
}
_RING = {"Add", "Sub", "Mul", "Neg", "MatMul", "ReduceSum", "ReduceProd", "CumSum"}
_RING |= {"Where", "Pad", "Expand", "Tile"}
"""Operators that give the same bits for uint64 read as int64."""

DATA_OPERAND = {"Where": 1}
"""Operand whose element type counts, where it is not the first."""


class Value(NamedTuple):
    """A value of an ONNX graph.

    Args:
        name: in the file.
        type: what it stands for.
        held: shape that it has in the file; ONNX broadcasts it to that of the type.
    """

    name: str
    type: TensorType
    held: tuple[int, ...]

    @property
    def dtype(self) -> str:
        """Name of the element type."""
        return self.type.dtype


def code_of(dtype: str) -> int:
    """The element type's number in ONNX.

    Raises:
        UnsupportedOpError: ONNX, as it is written here, has no such type.
    """
    if dtype not in _CODES:
        raise UnsupportedOpError(f"the element type {dtype}")
    return int(_CODES[dtype])


def opset_of(dtype: str) -> int:
    """The opset that an element type needs."""
    return 19 if dtype.startswith("float8") else OPSET


def is_narrow(dtype: str) -> bool:
    """Whether steps between the operands and the result of an operation are made in float32."""
    return dtype.startswith(("float8", "bfloat16", "float16"))


def extreme(dtype: str, largest: bool) -> np.ndarray:
    """The largest or smallest value of an element type, infinities included."""
    if dtype == "bool":
        return np.array(largest)
    kind = np.dtype(dtype)
    if kind.kind in "iu":
        info = np.iinfo(kind)
        return np.array(info.max if largest else info.min, kind)
    if dtype.startswith("float8") and not np.isinf(np.array(np.inf).astype(kind)):
        limits: Any = ml_dtypes.finfo(kind)  # type: ignore[no-untyped-call]
        return np.array(limits.max if largest else limits.min, kind)
    return np.array(np.inf if largest else -np.inf, kind)


@functools.cache
def computed_in(op: str, dtype: str) -> str:
    """The element type in which an operator is run: its own, or a wider one that runtimes have.

    Raises:
        UnsupportedOpError: the operator takes neither.
    """
    standard = _standard(op)
    runs = _RUN.get(op, ARITHMETIC)
    wider = _WIDER.get(dtype, ("int64",) if dtype == "uint64" and op in _RING else ())
    for candidate in (dtype, *wider):
        if candidate in standard and candidate in runs:
            return candidate
    if dtype in standard:
        return dtype
    raise UnsupportedOpError(f"the element type {dtype}")


@functools.cache
def _standard(op: str) -> frozenset[str]:
    """Element types that the standard lets an operator take."""
    schema = onnx.defs.get_schema(op, 19)
    variable = schema.inputs[DATA_OPERAND.get(op, 0)].type_str
    allowed = next(c.allowed_type_strs for c in schema.type_constraints if c.type_param_str == variable)
    return frozenset(_NAMES[name] for name in allowed if name in _NAMES)
