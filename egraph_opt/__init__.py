# SPDX-License-Identifier: Apache-2.0
"""egraph_opt finds a cheaper equal program for a JAX function or an exported model, and says what it did.

The names are imported when they are first read: JAX and egglog take a second, which a command's first moments and a
program that reads one name do not owe.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from egraph_opt.api import Optimized as Optimized
    from egraph_opt.api import load as load
    from egraph_opt.api import optimize as optimize
    from egraph_opt.api import rule as rule
    from egraph_opt.engine import RuleSet as RuleSet
    from egraph_opt.frontends.torch import from_torch as from_torch
    from egraph_opt.ir import Graph as Graph
    from egraph_opt.kernels import register_kernel as register_kernel
    from egraph_opt.kernels import unregister_kernel as unregister_kernel
    from egraph_opt.report import Report as Report
    from egraph_opt.result import Result as Result
    from egraph_opt.stated import assume as assume
    from egraph_opt.stated import guarded as guarded

_HOMES = {
    "Graph": "ir",
    "Optimized": "api",
    "Report": "report",
    "Result": "result",
    "RuleSet": "engine",
    "assume": "stated",
    "from_torch": "frontends.torch",
    "guarded": "stated",
    "load": "api",
    "optimize": "api",
    "register_kernel": "kernels",
    "rule": "api",
    "unregister_kernel": "kernels",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
