# SPDX-License-Identifier: Apache-2.0
"""The table of ONNX operators: ``python -m egraph_opt.frontends.onnx.document > docs/onnx-operators.md``."""

from __future__ import annotations

import sys

import onnx

from egraph_opt.frontends.onnx.known import is_known
from egraph_opt.frontends.onnx.operator import OPERATORS, Operator
from egraph_opt.frontends.onnx.schema import SCHEMAS

_HEAD = """# ONNX operators

Made from the records in `egraph_opt/frontends/onnx/` by `python -m egraph_opt.frontends.onnx.document`; do not edit.

A rule holds from its version of the operator set until the next one. *shapes* are the operators whose rules also work
on what is known while a model is traced, however large: arithmetic of shapes then leaves nothing in the program (other
operators do that for up to 4096 elements). An operator without rules runs as the function by which the standard
defines it, where there is one.

| operator | domain | rules from version | shapes | file |
|---|---|---|---|---|
"""


def page() -> str:
    """Text of the page."""
    from egraph_opt.frontends.onnx import families  # noqa: F401 -- fills the table of operators

    rows = "".join(map(_row, sorted(OPERATORS, key=lambda found: (found.domain, found.name))))
    by_body: list[str] = []
    unknown: list[str] = []
    for domain, name in sorted({(schema.domain, schema.name) for schema in onnx.defs.get_all_schemas()}):
        found = OPERATORS.find(domain, name)
        schema = SCHEMAS.find(domain, name, 1 << 30)
        if found is None and schema is not None and not schema.deprecated:
            (by_body if is_known(domain, name, schema.since_version) else unknown).append(_title(domain, name))
    return (
        f"{_HEAD}{rows}\n## Run as functions of the standard\n\n{', '.join(by_body)}.\n\n"
        f"## Not supported\n\n{', '.join(unknown)}. A model that holds one is refused when it is loaded.\n"
    )


def _title(domain: str, name: str) -> str:
    return f"{domain}::{name}" if domain else name


def _row(found: Operator) -> str:
    files = dict.fromkeys(rule.__module__.rpartition(".")[2] + ".py" for rule in found.rules.values())
    versions = ", ".join(map(str, sorted(found.rules)))
    shapes = "yes" if found.host else ""
    return f"| {found.name} | {found.domain or 'ai.onnx'} | {versions} | {shapes} | {', '.join(files)} |\n"


if __name__ == "__main__":
    sys.stdout.write(page())
