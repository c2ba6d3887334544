# SPDX-License-Identifier: Apache-2.0
"""Static attributes of nodes: hashable values that print as text and read back.

Numbers, strings, tuples, element types, enums and registered records print structurally. Anything else (a callback,
a sharding, a jaxpr) is held by a ``Ref``, printed as ``ref("kind#3")`` and readable again in the same process only.
"""

from __future__ import annotations

import ast
import enum
import itertools
import math
from collections.abc import Callable, Mapping
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from egraph_opt.errors import GraphError

_refs: WeakValueDictionary[str, Ref] = WeakValueDictionary()
_serial = itertools.count()
_records: dict[str, tuple[type, Callable[[Any], dict[str, Any]], Callable[..., Any]]] = {}
_enums: dict[str, type[enum.Enum]] = {}


class Ref:
    """An attribute value that has no text form; equal to another Ref of an equal value."""

    __slots__ = ("__weakref__", "_hash", "name", "value")

    def __init__(self, value: Any) -> None:
        self.value = value
        self.name = f"{type(value).__name__}#{next(_serial)}"
        try:
            self._hash = hash(value)
        except TypeError:
            self._hash = id(value)
        _refs[self.name] = self

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Ref) or self._hash != other._hash:
            return False
        if self.value is other.value:
            return True
        if type(self.value) is not type(other.value) or type(self.value).__hash__ is None:
            return False
        return bool(self.value == other.value)

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        return f"ref({self.name!r})"


class DType(str):
    """Name of an element type as an attribute value."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"dtype({str(self)!r})"


class Array:
    """An immutable constant tensor; equal when element type, shape and bits are equal."""

    __slots__ = ("_key", "value")

    def __init__(self, value: Any) -> None:
        self.value = np.array(value, copy=True)
        self.value.setflags(write=False)
        self._key = (str(self.value.dtype), self.value.shape, self.value.tobytes())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Array) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __repr__(self) -> str:
        dtype, shape, data = self._key
        return f"array({dtype!r}, {shape!r}, {data.hex()!r})"


class _MinusZero(float):
    """-0.0 as an attribute: unlike any other float it is not equal to 0.0, so that the two are never one node."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _MinusZero)

    def __ne__(self, other: object) -> bool:
        return not isinstance(other, _MinusZero)

    def __hash__(self) -> int:
        return hash("-0.0")


MINUS_ZERO = _MinusZero(-0.0)
NAN = math.nan
"""The one NaN among attributes: tuples that hold the same object are equal, so equal nodes with it are one."""


def register_record(
    kind: type, fields: Callable[[Any], dict[str, Any]], make: Callable[..., Any] | None = None
) -> None:
    """Let values of a record type print as ``Kind(field=...)`` and read back by ``make(**fields)``."""
    _records[kind.__name__] = (kind, fields, make or kind)


def register_enum(kind: type[enum.Enum]) -> None:
    """Let members of an enum print as ``Kind.NAME``."""
    _enums[kind.__name__] = kind


def freeze(value: Any) -> Any:
    """Hashable, printable form of an attribute value; what has none is wrapped in a ``Ref``."""
    if type(value) is float:
        return _freeze_float(value)
    if type(value) is complex:
        parts = (_freeze_float(value.real), _freeze_float(value.imag))
        return Array(value) if any(part is NAN or part is MINUS_ZERO for part in parts) else value
    if isinstance(value, enum.Enum):  # before the numbers: some enums are integers too
        return value if type(value).__name__ in _enums else Ref(value)
    if value is None or isinstance(value, bool | int | float | complex | str | bytes | Ref | Array):
        return value
    if isinstance(value, np.generic):
        return freeze(value.item())
    if isinstance(value, np.dtype):
        return DType(value.name)
    known = _records.get(type(value).__name__)
    if known and isinstance(value, known[0]):
        return value
    if isinstance(value, tuple | list) and type(value) in (tuple, list):
        return tuple(freeze(item) for item in value)
    if getattr(value, "is_attribute", False):
        return value
    return Ref(value)


def _freeze_float(value: float) -> float:
    if value != value:
        return NAN
    return MINUS_ZERO if value == 0 and math.copysign(1.0, value) < 0 else value


def thaw(value: Any) -> Any:
    """The value that ``freeze`` was given, as a primitive's parameter wants it."""
    if isinstance(value, Ref | Array):
        return value.value
    if isinstance(value, DType):
        return np.dtype(str(value))
    if type(value) is tuple:
        return tuple(thaw(item) for item in value)
    return -0.0 if value is MINUS_ZERO else value


def format_attr(value: Any) -> str:
    """Text of a frozen attribute value; ``parse_attr`` reads it back."""
    if isinstance(value, float) and not math.isfinite(value):
        return f"float({str(value)!r})"
    if isinstance(value, complex):
        return f"complex({format_attr(value.real)}, {format_attr(value.imag)})"
    if isinstance(value, enum.Enum):
        return f"{type(value).__name__}.{value.name}"
    if type(value) is tuple:
        inner = ", ".join(map(format_attr, value))
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    known = _records.get(type(value).__name__)
    if known and isinstance(value, known[0]):
        fields = ", ".join(f"{k}={format_attr(freeze(v))}" for k, v in known[1](value).items())
        return f"{type(value).__name__}({fields})"
    return repr(value)


def parse_attrs(text: str, names: Mapping[str, Any] | None = None) -> tuple[tuple[str, Any], ...]:
    """Read ``name=value, ...``.

    Args:
        text: what stands between the brackets of a node.
        names: values of bare names (sub-graphs).

    Raises:
        GraphError: the text does not parse, or a ``ref`` no longer exists in this process.
    """
    try:
        call = ast.parse(f"f({text})", mode="eval").body
    except SyntaxError as error:
        raise GraphError(f"attributes {text!r} do not parse: {error.msg}") from None
    assert isinstance(call, ast.Call)
    return tuple((str(k.arg), _evaluate(k.value, names or {})) for k in call.keywords)


def _evaluate(node: ast.expr, names: Mapping[str, Any]) -> Any:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return _call(node.func.id, node, names)
    if isinstance(node, ast.Tuple):
        return tuple(_evaluate(item, names) for item in node.elts)
    if isinstance(node, ast.Name) and node.id in names:
        return names[node.id]
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in _enums:
        return _enums[node.value.id][node.attr]
    try:
        return freeze(ast.literal_eval(node))
    except ValueError:
        raise GraphError(f"attribute value {ast.unparse(node)!r} is not known") from None


def _call(name: str, node: ast.Call, names: Mapping[str, Any]) -> Any:
    args = [_evaluate(arg, names) for arg in node.args]
    if name == "float":
        return _freeze_float(float(args[0]))
    if name == "complex":
        return complex(*args)
    if name == "dtype":
        return DType(args[0])
    if name == "array":
        dtype, shape, data = args
        return Array(np.frombuffer(bytes.fromhex(data), dtype=np.dtype(dtype)).reshape(shape))
    if name == "ref":
        if args[0] not in _refs:
            raise GraphError(f"ref({args[0]!r}) belongs to another process or is gone; capture the program again")
        return _refs[args[0]]
    if name in _records:
        return _records[name][2](**{str(k.arg): _evaluate(k.value, names) for k in node.keywords})
    raise GraphError(f"attribute value {name}(...) is not known")
