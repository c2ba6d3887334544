# SPDX-License-Identifier: Apache-2.0
"""Records and enums that occur as attributes, registered so that Graph text prints them and reads them back."""

from __future__ import annotations

import dataclasses
from typing import Any

from jax import lax

from egraph_opt.ir.attrs import register_enum, register_record

ENUMS = (lax.GatherScatterMode, lax.RoundingMethod, lax.Precision, lax.FftType)
RECORDS = (lax.GatherDimensionNumbers, lax.ScatterDimensionNumbers, lax.ConvDimensionNumbers)


def fields(value: Any) -> dict[str, Any]:
    """Fields of a record by name."""
    if dataclasses.is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return dict(value._asdict())


for _enum in ENUMS:
    register_enum(_enum)
for _record in RECORDS:
    register_record(_record, fields)
