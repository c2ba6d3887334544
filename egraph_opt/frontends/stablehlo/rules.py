# SPDX-License-Identifier: Apache-2.0
"""Every op that can be evaluated, joined from the families' tables, and the check that a module holds no other.

Stands between the op families and `LoadedModel`.
"""

from __future__ import annotations

from collections.abc import Iterator

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
from egraph_opt.frontends.stablehlo.module import Module, Operation
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


_REFINED = "stablehlo.dynamic_"
"""Custom calls that refinement turns into ordinary ops."""


def check_known(module: Module, origin: str) -> None:
    """Refuse a module that holds an op or a custom call without a rule.

    Branches of a case are left to the evaluator where the module is for several platforms: most are never entered.

    Raises:
        UnsupportedOpError: with the first such op and where it came from.
    """
    is_dynamic = not module.is_static
    for op in _entered(module):
        if op.name not in RULES:
            raise UnsupportedOpError(
                f"{origin}: op '{op.name}' at {op.location} is not known; docs/stablehlo.md lists the ops that are"
            )
        if op.name == "stablehlo.custom_call":
            target = op.attributes["call_target_name"]
            if not custom_call.is_known(target) and not (is_dynamic and target.startswith(_REFINED)):
                raise UnsupportedOpError(
                    f"{origin}: custom call '{target}' at {op.location} is not known; "
                    "docs/stablehlo.md lists the ones that are"
                )


def _entered(module: Module) -> Iterator[Operation]:
    """The operations that a call may reach."""
    if not module.platform_arguments:
        yield from module.walk()
        return
    waiting, seen = [module.main.body], {module.entry}
    while waiting:
        for op in waiting.pop().operations:
            yield op
            callee = op.attributes.get("callee", "")
            if op.name == "func.call" and callee not in seen:
                seen.add(callee)
                waiting.append(module.functions[callee].body)
            if op.name != "stablehlo.case":
                waiting.extend(op.regions)
