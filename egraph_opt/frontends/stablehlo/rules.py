# SPDX-License-Identifier: Apache-2.0
"""Every op that can be evaluated, joined from the families' tables, and the check that a module holds no other."""

from __future__ import annotations

from egraph_opt.errors import UnsupportedOpError
from egraph_opt.frontends.stablehlo import (
    chlo,
    contraction,
    control,
    custom_call,
    dynamic,
    elementwise,
    indexing,
    layout,
    misc,
    reduction,
    sorting,
)
from egraph_opt.frontends.stablehlo.module import Module
from egraph_opt.frontends.stablehlo.table import OpTable

FAMILIES = {
    "elementwise": elementwise,
    "layout": layout,
    "contraction": contraction,
    "reduction": reduction,
    "indexing": indexing,
    "sorting": sorting,
    "control": control,
    "misc": misc,
    "dynamic": dynamic,
    "chlo": chlo,
    "custom_call": custom_call,
}

RULES = OpTable()
for _family in FAMILIES.values():
    for _name, _rule in _family.TABLE.items():
        RULES.add(_name, _rule)


def check_known(module: Module, origin: str) -> None:
    """Refuse a module that holds an op or a custom call without a rule.

    Raises:
        UnsupportedOpError: with the first such op and where it came from.
    """
    for op in module.walk():
        if op.name not in RULES:
            raise UnsupportedOpError(
                f"{origin}: op '{op.name}' at {op.location} is not known; docs/stablehlo.md lists the ops that are"
            )
        if op.name == "stablehlo.custom_call":
            target = op.attributes["call_target_name"]
            if not custom_call.is_known(target):
                raise UnsupportedOpError(
                    f"{origin}: custom call '{target}' at {op.location} is not known; "
                    "docs/stablehlo.md lists the ones that are"
                )
