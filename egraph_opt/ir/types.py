# SPDX-License-Identifier: Apache-2.0
"""Types of tensors as the Graph sees them: shape, element type, weak type.

First layer of the package: no JAX here. Element types are numpy-style names (``"float32"``, ``"bfloat16"``,
``"key<fry>"``); their short forms (``f32``, ``bf16``) appear in graph text only.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from egraph_opt.errors import GraphError

_SHORT = {
    "bool": "bool",
    "bfloat16": "bf16",
    "complex64": "c64",
    "complex128": "c128",
    **{f"float{n}": f"f{n}" for n in (16, 32, 64)},
    **{f"{sign}int{n}": f"{sign or 'i'}{n}" for sign in ("", "u") for n in (2, 4, 8, 16, 32, 64)},
}
ELEMENT_TYPES = tuple(_SHORT)
"""Names of the element types that numbers have."""

_LONG = {short: name for name, short in _SHORT.items()}
_ITEMSIZE = {"bool": 1, "bfloat16": 2, "complex64": 8, "complex128": 16, "float0": 0}
_TYPE = re.compile(r"([^\[\]~]+)\[([0-9,]*)\](~?)")


@dataclass(frozen=True, slots=True)
class TensorType:
    """Shape and element type of one tensor.

    Args:
        shape: sizes of the dimensions.
        dtype: numpy-style name of the element type.
        weak: JAX's weak type; it matters at the inputs and outputs of a graph only.
    """

    shape: tuple[int, ...]
    dtype: str
    weak: bool = False

    @property
    def rank(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def itemsize(self) -> float:
        """Size of one element [byte]; half a byte for the four-bit types."""
        return itemsize(self.dtype)

    @property
    def nbytes(self) -> float:
        """Size of the whole tensor [byte]."""
        return self.size * itemsize(self.dtype)

    def strong(self) -> TensorType:
        """The same type without the weak mark."""
        return TensorType(self.shape, self.dtype) if self.weak else self

    def with_shape(self, shape: tuple[int, ...]) -> TensorType:
        """A strong type of the same element type and another shape."""
        return TensorType(shape, self.dtype)

    def __str__(self) -> str:
        dims = ",".join(map(str, self.shape))
        return f"{_SHORT.get(self.dtype, self.dtype)}[{dims}]{'~' if self.weak else ''}"

    @staticmethod
    def parse(text: str) -> TensorType:
        """Read the form that ``str`` prints.

        Raises:
            GraphError: the text is no tensor type.
        """
        match = _TYPE.fullmatch(text.strip())
        if not match:
            raise GraphError(f"{text!r} is no tensor type; want e.g. 'f32[128,64]'")
        name, dims, weak = match.groups()
        return TensorType(tuple(map(int, dims.split(","))) if dims else (), _LONG.get(name, name), bool(weak))


def itemsize(dtype: str) -> float:
    """Size of one element of the named type [byte]; an extended type (a random key) counts 8."""
    if dtype in _ITEMSIZE:
        return _ITEMSIZE[dtype]
    if dtype.startswith(("float8", "float4")):
        return 1 if dtype.startswith("float8") else 0.5
    digits = re.search(r"(\d+)$", dtype)
    return int(digits.group(1)) / 8 if digits else 8


def is_floating(dtype: str) -> bool:
    """Whether the named type is a real floating-point type."""
    return dtype.startswith(("float", "bfloat")) and dtype != "float0"


def is_complex(dtype: str) -> bool:
    """Whether the named type is complex."""
    return dtype.startswith("complex")


def is_integer(dtype: str) -> bool:
    """Whether the named type is a signed or unsigned integer."""
    return dtype.startswith(("int", "uint"))


def is_numeric(dtype: str) -> bool:
    """Whether sums and products of the type form a ring (all but bool and extended types)."""
    return is_floating(dtype) or is_complex(dtype) or is_integer(dtype)
