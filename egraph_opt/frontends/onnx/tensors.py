# SPDX-License-Identifier: Apache-2.0
"""Tensors of ONNX files as numpy arrays; those that lie in files beside the model are mapped, not read."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from egraph_opt.errors import ModelError, UnsupportedOpError

_PACKED = {"INT4", "UINT4", "FLOAT4E2M1", "INT2", "UINT2"}


def element_type(code: int, where: str) -> np.dtype[Any]:
    """The numpy type of an ONNX element type; strings are objects.

    Raises:
        ModelError: the code names no type.
    """
    try:
        return np.dtype(helper.tensor_dtype_to_np_dtype(code))
    except (KeyError, ValueError, TypeError) as error:
        raise ModelError(f"{where}: got the element type {code}, which the standard does not have") from error


def tensor(proto: onnx.TensorProto, folder: Path, where: str) -> np.ndarray:
    """The value of a tensor.

    Args:
        proto: the tensor.
        folder: where the model file lies; external data is beside it.
        where: model and tensor, for messages.

    Raises:
        ModelError: the data are missing, too short or do not fit the shape.
    """
    _check_shape(proto.dims, where)
    if proto.data_location == onnx.TensorProto.EXTERNAL:
        return _external(proto, folder, where)
    try:
        return np.asarray(numpy_helper.to_array(proto))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        reason = (str(error).splitlines() or ["damaged data"])[0]
        raise ModelError(
            f"{where}: its data do not fit its shape {list(proto.dims)} and type: {reason}; export the model again"
        ) from error


def sparse_tensor(proto: onnx.SparseTensorProto, folder: Path, where: str) -> np.ndarray:
    """The value of a sparse tensor, all elements written out.

    Raises:
        ModelError: the indices do not fit the shape.
    """
    values = tensor(proto.values, folder, where)
    indices = tensor(proto.indices, folder, where)
    _check_shape(proto.dims, where)
    dense = np.zeros(tuple(proto.dims), values.dtype)
    places = indices if indices.ndim == 1 else np.ravel_multi_index(tuple(indices.T), dense.shape, mode="clip")
    if len(places) != len(values) or (len(places) and (places.min() < 0 or places.max() >= dense.size)):
        raise ModelError(f"{where}: got {len(values)} values at indices that do not fit the shape {list(proto.dims)}")
    dense.reshape(-1)[places] = values
    return dense


def _external(proto: onnx.TensorProto, folder: Path, where: str) -> np.ndarray:
    entries = {entry.key: entry.value for entry in proto.external_data}
    location = entries.get("location", "")
    path = (folder / location).resolve()
    if not location or not path.is_relative_to(folder.resolve()):
        raise ModelError(f"{where}: its data should lie in {location!r}, outside of the model's folder; move it there")
    if not path.is_file():
        raise ModelError(f"{where}: its data should lie in {location}, which is not beside the model; copy it there")
    name = onnx.TensorProto.DataType.Name(proto.data_type)
    dtype = element_type(proto.data_type, where)
    shape = tuple(proto.dims)
    if name in _PACKED or dtype.kind == "O":
        raise UnsupportedOpError(f"{where}: external data of the type {name} are not read; keep them in the model file")
    size = math.prod(shape) * dtype.itemsize
    offset, length = (_place(entries, key, default, where) for key, default in (("offset", 0), ("length", size)))
    have = path.stat().st_size
    if offset + length > have or offset + size > have:
        raise ModelError(
            f"{where}: want {size} bytes from {offset} on of {location}, which has {have}; copy the file again"
        )
    if length != size:
        raise ModelError(f"{where}: got {length} bytes of external data; the shape {list(shape)} wants {size}")
    if not size:
        return np.zeros(shape, dtype)
    return np.memmap(path, dtype, "r", offset, shape)  # the data are read when they are used


def _check_shape(dims: Iterable[int], where: str) -> None:
    if any(dim < 0 for dim in dims):
        raise ModelError(f"{where}: got the shape {list(dims)}; sizes are not negative: export the model again")


def _place(entries: Mapping[str, str], key: str, default: int, where: str) -> int:
    """Where external data begin, or how long they are [byte]."""
    text = entries.get(key, str(default))
    if not text.isdecimal():
        raise ModelError(f"{where}: got the {key} {text!r} of its external data; want a number of bytes")
    return int(text)
