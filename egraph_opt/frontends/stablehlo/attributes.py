# SPDX-License-Identifier: Apache-2.0
"""MLIR types and attributes to Python values.

The bindings know some attributes by class and the others only as text, and they cannot hand over arrays of bfloat16, of
4-bit integers or of complex numbers: those are read from the printed form. Used by `parse` only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import jax.numpy as jnp
import numpy as np

from egraph_opt import _compat
from egraph_opt.frontends.stablehlo.module import DYNAMIC, OtherType, TensorType, ValueType

ir = _compat.mlir_ir
stablehlo = _compat.mlir_stablehlo

_DTYPES: dict[str, np.dtype[Any]] = {
    "i1": np.dtype(bool),
    "f16": np.dtype(np.float16),
    "f32": np.dtype(np.float32),
    "f64": np.dtype(np.float64),
    "bf16": np.dtype(jnp.bfloat16),
    "complex<f32>": np.dtype(np.complex64),
    "complex<f64>": np.dtype(np.complex128),
    "index": np.dtype(np.int64),
    **{f"i{bits}": np.dtype(f"int{bits}") for bits in (8, 16, 32, 64)},
    **{f"ui{bits}": np.dtype(f"uint{bits}") for bits in (8, 16, 32, 64)},
    **{f"i{bits}": np.dtype(getattr(jnp, f"int{bits}")) for bits in (2, 4)},
    **{f"ui{bits}": np.dtype(getattr(jnp, f"uint{bits}")) for bits in (2, 4)},
    **{
        mlir: np.dtype(getattr(jnp, name))
        for mlir, name in {
            "f8E3M4": "float8_e3m4",
            "f8E4M3": "float8_e4m3",
            "f8E4M3B11FNUZ": "float8_e4m3b11fnuz",
            "f8E4M3FN": "float8_e4m3fn",
            "f8E4M3FNUZ": "float8_e4m3fnuz",
            "f8E5M2": "float8_e5m2",
            "f8E5M2FNUZ": "float8_e5m2fnuz",
            "f8E8M0FNU": "float8_e8m0fnu",
            "f4E2M1FN": "float4_e2m1fn",
        }.items()
    },
}

_SMALL_INTEGERS = {"i2", "i4", "ui2", "ui4"}
_DENSE = re.compile(r"dense<(.*)> : tensor<", re.DOTALL)
_TOKEN = re.compile(r"true|false|0x[0-9A-Fa-f]+|-?[0-9.]+(?:[eE][-+]?[0-9]+)?")
_ENUM = re.compile(r"#\w+<\w+ (\w+)>")


class UnknownTypeError(ValueError):
    """An element type that JAX has no arrays of; `parse` adds the place and the file."""


def value_type(mlir_type: Any) -> ValueType:
    """The type of a value as a record.

    Raises:
        UnknownTypeError: the element type has no counterpart in JAX (quantised types, tf32).
    """
    if not isinstance(mlir_type, ir.RankedTensorType):
        return OtherType(str(mlir_type))
    element = str(mlir_type.element_type)
    if element not in _DTYPES:
        raise UnknownTypeError(element)
    dynamic = ir.ShapedType.get_dynamic_size()
    shape = tuple(DYNAMIC if dim == dynamic else int(dim) for dim in mlir_type.shape)
    return TensorType(shape, _DTYPES[element])


def constant(operation: Any) -> np.ndarray:
    """The array of a ``stablehlo.constant``; a splat comes with zero strides, so it takes no memory."""
    kind = operation.results[0].type
    element = str(kind.element_type)
    shape, dtype = tuple(kind.shape), _DTYPES[element]
    if element.startswith(("complex", "bf16", "f8", "f4")) or element in _SMALL_INTEGERS:
        return _from_text(operation.get_asm(enable_debug_info=False), shape, dtype)
    attribute = operation.attributes["value"]
    if not isinstance(attribute, ir.DenseElementsAttr):
        raise UnknownTypeError(str(attribute)[:40])
    array = np.asarray(attribute)
    if attribute.is_splat and array.size:
        return np.broadcast_to(array.ravel()[0].astype(dtype), shape)
    return np.array(array, dtype).reshape(shape)


def _from_text(text: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
    """The array printed in ``dense<...>``: a quoted hexadecimal dump, one splat, or nested lists."""
    match = _DENSE.search(text)
    if match is None:
        raise UnknownTypeError(text[:40])
    body = match.group(1)
    size = int(np.prod(shape, dtype=np.int64))
    if body.startswith('"0x'):
        flat = np.frombuffer(bytes.fromhex(body[3:-1]), _storage(dtype)).astype(dtype)
    else:
        numbers = [_number(token, dtype) for token in _TOKEN.findall(body)]
        if dtype.kind == "c":
            numbers = [complex(re_, im) for re_, im in zip(numbers[::2], numbers[1::2], strict=True)]
        flat = np.array(numbers).astype(dtype)
    if flat.size == size:
        return flat.reshape(shape)
    return np.broadcast_to(flat[0], shape)


def _storage(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """What the hexadecimal dump holds one element in: 4-bit integers take a byte."""
    if dtype.name in {"int2", "int4", "uint2", "uint4"}:
        return np.dtype(np.int8 if dtype.name.startswith("i") else np.uint8)
    return dtype


def _number(token: str, dtype: np.dtype[Any]) -> Any:
    """One printed element; hexadecimal digits are the bits of a float."""
    if token in {"true", "false"}:
        return token == "true"
    if not token.startswith("0x"):
        return float(token) if "." in token or "e" in token.lower() else int(token)
    halves = {"complex64": "float32", "complex128": "float64"}
    part: np.dtype[Any] = np.dtype(halves[dtype.name]) if dtype.kind == "c" else dtype
    return np.array(int(token, 16), f"uint{8 * part.itemsize}").view(part).astype(np.float64)[()]


def decode(attribute: Any) -> Any:
    """One attribute as Python numbers, strings, tuples, dicts and numpy arrays; what is unknown stays its text."""
    for kind, convert in _CONVERTERS:
        if isinstance(attribute, kind):
            return convert(attribute)
    text = str(attribute)
    enum = _ENUM.fullmatch(text)
    if enum is not None:
        return enum.group(1)
    for prefix, structured in _STRUCTURED.items():
        if text.startswith(prefix):
            return structured(attribute)
    return text


def _dict(attribute: Any) -> Mapping[str, Any]:
    return {named.name: decode(named.attr) for named in attribute}


def _type(attribute: Any) -> Any:
    try:
        return value_type(attribute.value)
    except UnknownTypeError:
        return OtherType(str(attribute.value))


_CONVERTERS: tuple[tuple[Any, Callable[[Any], Any]], ...] = (
    (ir.BoolAttr, lambda a: bool(a.value)),
    (ir.IntegerAttr, lambda a: int(a.value)),
    (ir.FloatAttr, lambda a: float(a.value)),
    (ir.StringAttr, lambda a: a.value),
    (ir.FlatSymbolRefAttr, lambda a: a.value),
    (ir.UnitAttr, lambda _: True),
    (ir.DenseI64ArrayAttr, tuple),
    (ir.DenseI32ArrayAttr, tuple),
    (ir.DenseBoolArrayAttr, lambda a: tuple(bool(item) for item in a)),
    (ir.ArrayAttr, lambda a: tuple(decode(item) for item in a)),
    (ir.DenseElementsAttr, np.array),
    (ir.TypeAttr, _type),
    (ir.DictAttr, _dict),
)


def _fields(kind: Any, *names: str) -> Callable[[Any], SimpleNamespace]:
    """A converter that copies the named fields of a StableHLO attribute into a record of tuples and numbers."""

    def convert(attribute: Any) -> SimpleNamespace:
        typed = kind(attribute)
        values = {name: getattr(typed, name) for name in names}
        return SimpleNamespace(**{name: tuple(v) if isinstance(v, list) else v for name, v in values.items()})

    return convert


_STRUCTURED: dict[str, Callable[[Any], SimpleNamespace]] = {
    "#stablehlo.dot<": _fields(
        stablehlo.DotDimensionNumbers,
        "lhs_batching_dimensions",
        "rhs_batching_dimensions",
        "lhs_contracting_dimensions",
        "rhs_contracting_dimensions",
    ),
    "#stablehlo.gather<": _fields(
        stablehlo.GatherDimensionNumbers,
        "offset_dims",
        "collapsed_slice_dims",
        "operand_batching_dims",
        "start_indices_batching_dims",
        "start_index_map",
        "index_vector_dim",
    ),
    "#stablehlo.scatter<": _fields(
        stablehlo.ScatterDimensionNumbers,
        "update_window_dims",
        "inserted_window_dims",
        "input_batching_dims",
        "scatter_indices_batching_dims",
        "scattered_dims_to_operand_dims",
        "index_vector_dim",
    ),
    "#stablehlo.conv<": _fields(
        stablehlo.ConvDimensionNumbers,
        "input_batch_dimension",
        "input_feature_dimension",
        "input_spatial_dimensions",
        "kernel_input_feature_dimension",
        "kernel_output_feature_dimension",
        "kernel_spatial_dimensions",
        "output_batch_dimension",
        "output_feature_dimension",
        "output_spatial_dimensions",
    ),
    "#stablehlo.dot_algorithm<": _fields(
        stablehlo.DotAlgorithm,
        "lhs_precision_type",
        "rhs_precision_type",
        "accumulation_type",
        "lhs_component_count",
        "rhs_component_count",
        "num_primitive_operations",
        "allow_imprecise_accumulation",
    ),
}
