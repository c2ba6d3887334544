# SPDX-License-Identifier: Apache-2.0
"""Text or bytes to a verified MLIR module.

MLIR's complaints are collected, so nothing reaches the terminal, and become one line of ours with the line of the file.
`parse` copies the module into records afterwards.
"""

from __future__ import annotations

import re
from typing import Any

from egraph_opt import _compat
from egraph_opt.errors import ModelError, UnsupportedOpError

ir = _compat.mlir_ir

ARTIFACT_MAGIC = b"ML\xefR"
"""The first bytes of a portable artifact."""

_PLACE = re.compile(r'"-":(?P<line>\d+):(?P<column>\d+): ')
_NESTED_PLACE = re.compile(r'^error: (?:".*\)+: )?')
_UNKNOWN_OP = re.compile(
    r"(?:custom op (?='[\w.]+' is unknown)|not found for custom op |unregistered operation )'(\w+\.[\w.]+)'"
)
_UNKNOWN_DIALECT = "operation being parsed with an unregistered dialect"
_QUOTED_OP = re.compile(r'"(\w+\.[\w.]+)"')


def read_mlir(source: bytes, origin: str, diagnostics: Diagnostics) -> Any:
    """A verified MLIR module from text or from a portable artifact.

    Raises:
        ModelError: the source does not parse.
        UnsupportedOpError: it does not because of an op or a type that is unknown.
    """
    wanted = "want StableHLO text or a StableHLO portable artifact"
    if not source.strip():
        raise ModelError(f"{origin}: the file is empty; {wanted}")
    if source.startswith(ARTIFACT_MAGIC):
        try:
            return _compat.mlir_stablehlo.deserialize_portable_artifact(diagnostics.context, source)
        except (ValueError, RuntimeError, ir.MLIRError) as error:
            reason = diagnostics.first() or _first_line(error)
            raise ModelError(
                f"{origin}: the portable artifact is damaged or too new ({reason}); write it again"
            ) from error
    try:
        text = source.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ModelError(f"{origin}: got binary data of another format; {wanted}") from error
    try:
        return ir.Module.parse(text, diagnostics.context)
    except (ValueError, ir.MLIRError) as error:
        raise _parse_failure(str(error), text, origin, wanted) from error


def _parse_failure(complaint: str, source: str, origin: str, wanted: str) -> ModelError | UnsupportedOpError:
    """MLIR's first complaint as one of our errors."""
    place, message, before = "", _error_line(complaint).removeprefix("error: "), ""
    found = _PLACE.match(message)
    if found is not None:
        place, message = f":{found['line']}", message[found.end() :]
        before = source.split("\n")[int(found["line"]) - 1][: int(found["column"]) - 1]
    unknown = _UNKNOWN_OP.findall(message) or (_QUOTED_OP.findall(before) if _UNKNOWN_DIALECT in message else [])
    if unknown:
        return UnsupportedOpError(
            f"{origin}: op '{unknown[-1]}' at {origin}{place} is not known; docs/stablehlo.md lists the ops that are"
        )
    if '!"quant"' in message or "!quant." in message:
        return UnsupportedOpError(
            f"{origin}: quantised types (!quant.uniform) are not known; export the model without quantisation"
        )
    message = message.partition(" (tried ")[0].partition(". If this is intended")[0]  # advice about MLIR's own tools
    return ModelError(f"{origin}{place}: {shortened(message)}; {wanted}")


def failed_pass(text: str) -> str:
    """The first error of a failed pass, without its nested place."""
    return _NESTED_PLACE.sub("", _error_line(text))


def _error_line(text: str) -> str:
    return next((line for line in text.splitlines() if line.startswith("error: ")), _first_line(text))


def shortened(message: str) -> str:
    """At most 200 characters of a message."""
    return message if len(message) <= 200 else message[:197] + "..."


def _first_line(error: object) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def entry_function(mlir_module: Any, origin: str) -> Any:
    """The function to call: ``main``, or the only public one."""
    functions = [op for op in mlir_module.body.operations if op.operation.name == "func.func"]
    public = [f for f in functions if _visibility(f) != "private"]
    named = [f for f in functions if f.attributes["sym_name"].value == "main"]
    if named:
        return named[0]
    if len(public) == 1:
        return public[0]
    raise ModelError(
        f"{origin}: got a module with {len(public)} public functions and none named main; "
        "want a StableHLO module whose function to call is @main"
    )


def _visibility(function: Any) -> str:
    if "sym_visibility" not in function.attributes:
        return "public"
    return str(function.attributes["sym_visibility"].value)


class Diagnostics:
    """A fresh MLIR context whose diagnostics are kept, not printed."""

    def __init__(self) -> None:
        self.context = _compat.mlir_context()
        self.messages: list[str] = []

    def __enter__(self) -> Diagnostics:
        self._handler = self.context.attach_diagnostic_handler(self._keep)
        return self

    def __exit__(self, *_: object) -> None:
        self._handler.detach()

    def _keep(self, diagnostic: Any) -> bool:
        self.messages.append(str(diagnostic.message))
        return True

    def first(self) -> str:
        """The first message's first line, or nothing."""
        return self.messages[0].splitlines()[0] if self.messages and self.messages[0] else ""
