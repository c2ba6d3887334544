# SPDX-License-Identifier: Apache-2.0
"""The inputs of an ONNX model: types, shapes that the user fixes, and how a call's arguments fit."""

from __future__ import annotations

import inspect
import keyword
import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from egraph_opt.errors import ArgumentError
from egraph_opt.frontends.onnx.program import Dim, Program, ValueInfo

Shape = Sequence[int | str]


class Signature:
    """What a model takes.

    Args:
        program: the records.
        shapes: input -> its shape, or name of a dimension -> its size.

    Raises:
        ArgumentError: a name that the model does not have, or a shape that contradicts it.
    """

    def __init__(self, program: Program, shapes: Mapping[str, Shape | int]) -> None:
        declared = program.graph.inputs
        names = {info.name for info in declared}
        dims = {dim for info in declared for dim in info.shape or () if isinstance(dim, str) and dim}
        for name, size in shapes.items():
            if name not in names and not (name in dims and isinstance(size, int)):
                known = ", ".join(sorted(names)) + (f"; dimensions {', '.join(sorted(dims))}" if dims else "")
                raise ArgumentError(f"{program.origin}: shape of {name!r}: no such input; there are {known}")
        self.inputs = tuple(_fixed(info, shapes, program.origin) for info in declared)
        self._scope = jax.export.SymbolicScope()
        self.avals = [self._aval(info) for info in self.inputs]

    def python(self) -> inspect.Signature:
        """The inputs as parameters of a Python function, their names made identifiers."""
        names: dict[str, None] = {}
        for info in self.inputs:
            name = re.sub(r"\W+", "_", info.name).strip("_") or "input"
            name = f"input_{name}" if name[0].isdigit() or keyword.iskeyword(name) else name
            while name in names or name == "weights":
                name += "_"
            names[name] = None
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        weights = inspect.Parameter("weights", inspect.Parameter.KEYWORD_ONLY, default=None)
        return inspect.Signature([*(inspect.Parameter(name, kind) for name in names), weights])

    def check_complete(self, origin: str) -> None:
        """Refuse a model of which random arguments cannot be made.

        Raises:
            ArgumentError: an input without rank, or one that is no tensor.
        """
        for info in self.inputs:
            if info.kind in ("sequence", "optional", "string", "map", "sparse_tensor"):
                raise ArgumentError(
                    f"{origin}: input {info.name!r} is no tensor ({info.kind}); call the model with arguments"
                )
            if info.shape is None or info.dtype is None:
                raise ArgumentError(
                    f"{origin}: input {info.name!r} has no shape in the file;"
                    f" give one, as in --shape {info.name}=1,3,224,224"
                )

    def bind(self, args: Sequence[Any], named: Mapping[str, Any], model: str) -> list[Any]:
        """The values of all inputs in order, of a call's positional and named arguments.

        Raises:
            ArgumentError: too many, too few, or an unknown name.
        """
        names = [info.name for info in self.inputs]
        if len(args) > len(names):
            raise ArgumentError(f"{model}: got {len(args)} arguments; want {len(names)}: {', '.join(names)}")
        values = dict(zip(names, args, strict=False))
        for name, value in named.items():
            if name not in names:
                raise ArgumentError(f"{model}: {name!r} is no input; there are {', '.join(names)}")
            if name in values:
                raise ArgumentError(f"{model}: input {name!r} is given twice")
            values[name] = value
        missing = [name for name in names if name not in values]
        if missing:
            raise ArgumentError(f"{model}: no value for the inputs {', '.join(missing)}")
        return [values[name] for name in names]

    def arrays(self, values: Sequence[Any], model: str) -> list[Any]:
        """The values as arrays of the declared types.

        Raises:
            ArgumentError: a type or shape that does not fit.
        """
        sizes: dict[str, int] = {}
        return [_array(value, info, sizes, model) for value, info in zip(values, self.inputs, strict=True)]

    def _aval(self, info: ValueInfo) -> jax.ShapeDtypeStruct:
        shape = info.shape or ()
        dtype = info.dtype if info.dtype is not None else np.dtype(np.float32)
        if all(isinstance(dim, int) for dim in shape):
            return jax.ShapeDtypeStruct(shape, dtype)
        text = ",".join(_dim_text(dim, info.name, axis) for axis, dim in enumerate(shape))
        return jax.ShapeDtypeStruct(jax.export.symbolic_shape(text, scope=self._scope), dtype)


def _fixed(info: ValueInfo, shapes: Mapping[str, Shape | int], origin: str) -> ValueInfo:
    """An input with the shape that the user gave."""
    given = shapes.get(info.name)
    if given is None:
        shape = info.shape
    else:
        given = (given,) if isinstance(given, int) else tuple(given)
        fits = info.shape is None or (
            len(given) == len(info.shape)
            and all(isinstance(want, str) or want == have for want, have in zip(info.shape, given, strict=True))
        )
        if not fits:
            want = ", ".join(str(dim or "?") for dim in info.shape or ())
            raise ArgumentError(f"{origin}: input {info.name!r}: got the shape {list(given)}; the model wants [{want}]")
        shape = given
    if shape is not None:
        shape = tuple(_size(shapes, dim) for dim in shape)
    return ValueInfo(info.name, info.dtype, shape, info.kind)


def _size(shapes: Mapping[str, Shape | int], dim: Dim) -> Dim:
    size = shapes.get(dim) if isinstance(dim, str) else None
    return size if isinstance(size, int) else dim


def _dim_text(dim: Dim, name: str, axis: int) -> str:
    """A dimension as `jax.export` writes it; names there are those of Python."""
    if isinstance(dim, int):
        return str(dim)
    text = re.sub(r"\W+", "_", dim).strip("_") or f"{re.sub(r'[^0-9a-zA-Z]+', '_', name).strip('_')}_{axis}"
    return f"d_{text}" if text[0].isdigit() else text


def _array(value: Any, info: ValueInfo, sizes: dict[str, int], model: str) -> Any:
    if info.kind not in ("", "unknown") or info.dtype is None:
        return value
    array = value if isinstance(value, jax.Array) else jnp.asarray(value)
    if array.dtype != info.dtype:
        if not np.can_cast(array.dtype, info.dtype, "same_kind"):
            raise ArgumentError(
                f"{model}: input {info.name!r}: want {info.dtype}, got {array.dtype}{list(array.shape)}"
            )
        array = array.astype(info.dtype)
    shape = info.shape
    if shape is None:
        return array
    fits = len(shape) == array.ndim
    for want, have in zip(shape, array.shape, strict=False):
        fits = fits and (sizes.setdefault(want, have) if isinstance(want, str) and want else want or have) == have
    if not fits:
        want_text = ", ".join(str(dim or "?") for dim in shape)
        raise ArgumentError(
            f"{model}: input {info.name!r}: want {info.dtype}[{want_text}], got {array.dtype}{list(array.shape)}"
        )
    return array
