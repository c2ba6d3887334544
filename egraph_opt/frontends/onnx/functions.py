# SPDX-License-Identifier: Apache-2.0
"""Operators without a rule that the standard defines by a function of others: the function's body is run instead."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from egraph_opt.frontends.onnx.program import FunctionRecord, NodeRecord
from egraph_opt.frontends.onnx.read import function_record
from egraph_opt.frontends.onnx.schema import SCHEMAS


def standard_function(
    record: NodeRecord, opsets: Mapping[str, int], args: Sequence[Any], attributes: Mapping[str, Any]
) -> FunctionRecord | None:
    """The body by which the standard defines a node's operator, or None.

    Args:
        record: the node.
        opsets: domain -> version of the operator sets around the node.
        args: values of its inputs; a body may depend on their types.
        attributes: values of its attributes; a body may depend on them.
    """
    version = opsets.get(record.domain, 1)
    body = _plain_body(record.domain, record.op, version)
    if body is not None:
        return body
    try:
        node = helper.make_node(
            record.op, list(record.inputs), list(record.outputs), domain=record.domain, **_protos(attributes)
        )
    except (TypeError, ValueError):
        return None
    types = [_type_of(x) for x in args]
    found = SCHEMAS.body_for(node, version, types)
    return None if found is None else function_record(_completed(found, opsets))


@functools.lru_cache(maxsize=1024)
def _plain_body(domain: str, op: str, version: int) -> FunctionRecord | None:
    body = SCHEMAS.body(domain, op, version)
    return None if body is None or not body.node else function_record(body)


def _completed(body: onnx.FunctionProto, opsets: Mapping[str, int]) -> onnx.FunctionProto:
    """A body made for one node may not import ai.onnx, and does not make the outputs that the node leaves out."""
    if not any(entry.domain in ("", "ai.onnx") for entry in body.opset_import):
        body.opset_import.append(helper.make_opsetid("", opsets.get("", onnx.defs.onnx_opset_version())))
    made = {name for node in body.node for name in node.output} | set(body.input)
    outputs = [name if name in made else "" for name in body.output]
    del body.output[:]
    body.output.extend(outputs)
    return body


def _protos(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: numpy_helper.from_array(value) if isinstance(value, np.ndarray) else value
        for name, value in attributes.items()
    }


def _type_of(value: Any) -> onnx.TypeProto:
    if value is None or not hasattr(value, "dtype"):
        return onnx.TypeProto()
    code = helper.np_dtype_to_tensor_dtype(np.dtype(value.dtype))
    return helper.make_tensor_type_proto(code, list(value.shape))
