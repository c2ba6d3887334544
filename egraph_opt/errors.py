# SPDX-License-Identifier: Apache-2.0
"""Every error a user can meet.

One sentence each for where, what was got, what is wanted and what to do. Each class also inherits the builtin that
callers would expect, so ``except ValueError`` keeps working. "Our bug" is an ``assert``; "your input" is one of these.
"""


class EgraphOptError(Exception):
    """Base of all errors raised on purpose by this package; the command line turns them into one line and status 2."""


class UnsupportedOpError(EgraphOptError, NotImplementedError):
    """An operation of a loaded model that no frontend knows (captured primitives are never refused)."""


class ModelError(EgraphOptError, ValueError):
    """A model file that cannot be read: missing, truncated, of another format, or inconsistent."""


class OutputError(EgraphOptError, OSError):
    """A file that cannot be written."""


class CheckError(EgraphOptError, AssertionError):
    """A model that does not compute what was recorded of it; the command line ends with status 1."""


class GraphError(EgraphOptError, ValueError):
    """Graph text that does not parse, or a graph that breaks an invariant."""


class ShapeError(EgraphOptError, ValueError):
    """Operand shapes that an operation does not accept."""


class DTypeError(EgraphOptError, TypeError):
    """Element types that an operation does not accept."""


class ArgumentError(EgraphOptError, TypeError, ValueError):
    """Arguments or options of a public call that do not fit."""


class RuleError(EgraphOptError, ValueError):
    """A rule file that is not well formed; the message starts with ``path:line``."""


class KernelError(EgraphOptError, ValueError):
    """A kernel that differs from its pattern, cannot be differentiated, or whose description does not fit."""


class EngineError(EgraphOptError, RuntimeError):
    """The e-graph engine refused a program or panicked."""


class ExtractionError(EgraphOptError, ValueError):
    """An e-graph from which no acyclic choice for all roots exists, or a malformed table."""


class CostError(EgraphOptError, ValueError):
    """A device description with rates that cannot be used."""


class SoundnessError(EgraphOptError, AssertionError):
    """An optimised program that differs from its original beyond the error gate."""
