# SPDX-License-Identifier: Apache-2.0
"""What the standard says of operators, as the package onnx holds it: defaults, types, and bodies of functions."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import defs, helper

from egraph_opt.errors import ModelError


class Schemas:
    """The standard's operators at the versions that a model asks for."""

    @functools.cache  # noqa: B019 -- one object a process
    def find(self, domain: str, op: str, version: int) -> Any:
        """The schema that holds in a version of the operator set; None for what the standard does not have."""
        try:
            return defs.get_schema(op, max_inclusive_version=version, domain=domain)
        except defs.SchemaError:
            return None

    @functools.cache  # noqa: B019
    def defaults(self, domain: str, op: str, version: int) -> Mapping[str, Any]:
        """Attributes that a node need not give, with their values."""
        schema = self.find(domain, op, version)
        if schema is None:
            return {}
        values = {}
        for name, attribute in schema.attributes.items():
            if attribute.default_value.type != onnx.AttributeProto.UNDEFINED:
                value = helper.get_attribute_value(attribute.default_value)
                values[name] = value.decode() if isinstance(value, bytes) else value
        return values

    def input_names(self, domain: str, op: str, version: int) -> Sequence[str]:
        """Names of the formal inputs."""
        schema = self.find(domain, op, version)
        return [] if schema is None else [formal.name for formal in schema.inputs]

    def has_body(self, domain: str, op: str, version: int) -> bool:
        """Whether the standard defines the operator by a function of others."""
        schema = self.find(domain, op, version)
        return schema is not None and bool(schema.has_function or schema.has_context_dependent_function)

    def body(self, domain: str, op: str, version: int) -> onnx.FunctionProto | None:
        """The function by which the standard defines the operator, where it needs no types for that."""
        schema = self.find(domain, op, version)
        if schema is None or not schema.has_function:
            return None
        return schema.function_body  # type: ignore[no-any-return]

    def body_for(
        self, node: onnx.NodeProto, version: int, types: Sequence[onnx.TypeProto]
    ) -> onnx.FunctionProto | None:
        """The function by which the standard defines the operator for operands of these types."""
        schema = self.find("" if node.domain == "ai.onnx" else node.domain, node.op_type, version)
        if schema is None or not schema.has_context_dependent_function:
            return None
        versions = [v for v in schema.context_dependent_function_opset_versions if v <= version]
        if not versions:
            return None
        found = schema.get_context_dependent_function_with_opset_version(
            max(versions), node.SerializeToString(), [kind.SerializeToString() for kind in types]
        )
        return onnx.FunctionProto.FromString(found) if found else None

    def check_call(self, domain: str, op: str, version: int, types: Sequence[Any], where: str) -> None:
        """Refuse inputs that the standard does not allow.

        Args:
            domain: of the operator.
            op: its name.
            version: of the operator set.
            types: element type of each input; None where it is left out or is no tensor.
            where: file and node, for messages.

        Raises:
            ModelError: too many or too few inputs, an element type that is not allowed, or two that must agree.
        """
        signature = self._signature(domain, op, version)
        if signature is None:
            return
        formals, least, most, since = signature
        count = len(types)
        if not least <= count <= most:
            wanted = f"{least}" if least == most else f"{least} to {most}" if most < 1000 else f"at least {least}"
            raise ModelError(f"{where}: got {count} inputs; want {wanted} in version {since}")
        bound: dict[str, tuple[str, Any]] = {}
        for place, dtype in enumerate(types):
            if dtype is None:
                continue
            name, parameter, allowed, homogeneous = formals[min(place, len(formals) - 1)]
            text = _type_text(np.dtype(dtype))
            if allowed and text not in allowed:
                raise ModelError(f"{where}: input {name!r} is {text}, which version {since} does not allow")
            if parameter is None or not homogeneous:
                continue
            other, before = bound.setdefault(parameter, (name, text))
            if before != text:
                raise ModelError(
                    f"{where}: input {name!r} is {text}, but {other!r} is {before}; they must have one type"
                )

    @functools.cache  # noqa: B019
    def _signature(
        self, domain: str, op: str, version: int
    ) -> tuple[list[tuple[str, str | None, frozenset[str], bool]], int, int, int] | None:
        schema = self.find(domain, op, version)
        if schema is None:
            return None
        constraints = {c.type_param_str: frozenset(c.allowed_type_strs) for c in schema.type_constraints}
        formals = []
        for formal in schema.inputs:
            allowed = constraints.get(formal.type_str, frozenset({formal.type_str}))
            plain = frozenset(text for text in allowed if text.startswith("tensor("))
            parameter = formal.type_str if formal.type_str in constraints else None
            formals.append((formal.name, parameter, plain, formal.is_homogeneous))
        most = schema.max_input if schema.max_input < 1 << 30 else 1 << 30
        return formals, schema.min_input, most, schema.since_version


SCHEMAS = Schemas()


@functools.cache
def _type_text(dtype: np.dtype[Any]) -> str:
    code = helper.np_dtype_to_tensor_dtype(dtype)
    return f"tensor({onnx.TensorProto.DataType.Name(code).lower()})"
