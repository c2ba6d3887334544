# SPDX-License-Identifier: Apache-2.0
"""Public entry points: ``optimize``, ``load``, ``rule``; those about facts are in ``stated``."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax

from egraph_opt._compat import outside_of_traces, static_arguments, trace_settings
from egraph_opt.calling import precision_of
from egraph_opt.capture import Arguments
from egraph_opt.errors import ArgumentError
from egraph_opt.frontends import LoadedModel
from egraph_opt.frontends import load as load_model
from egraph_opt.options import Options, make_options
from egraph_opt.pipeline import plan
from egraph_opt.result import Result
from egraph_opt.rules.define.function_rule import FunctionRule, define


class Optimized:
    """A function that runs its optimised form: traced and planned once per input types.

    It is a ``jax.jit`` whose traced function is the optimised program, so calls cost what jitted calls cost, and JAX's
    transformations apply.
    """

    def __init__(self, function: Callable[..., Any], options: Options) -> None:
        functools.update_wrapper(self, function)
        self._function, self._options = function, options
        self._wide = isinstance(function, LoadedModel) and function.is_wide
        self._begin()

    def _begin(self) -> None:
        """Begin with no results: at first, and when the rules have changed."""
        options = self._options
        self._results: dict[Any, Result] = {}

        def run(*args: Any, **kwargs: Any) -> Any:  # a function of its own: JAX knows traces by the function
            return self._trace(*args, **kwargs)

        self._jitted = jax.jit(
            run, static_argnums=options.static_argnums or None, static_argnames=options.static_argnames or None
        )

    def _refresh(self) -> None:
        """Forget what was made with rules whose files have changed since."""
        options = self._options.refreshed()
        if options is not self._options:
            self._options = options
            self._begin()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the optimised program."""
        self._refresh()
        if self._wide:
            with precision_of(self._function):
                return self._jitted(*args, **kwargs)
        try:
            return self._jitted(*args, **kwargs)
        except TypeError:
            # A tree may hold a leaf that is no array, such as an activation function, which jit does not take.
            if not self._arguments(args, kwargs).has_static_leaves:
                raise
            return self._result(args, kwargs)(*args, **kwargs)

    def plan(self, *args: Any, **kwargs: Any) -> Result:
        """Optimise ahead of time.

        Args:
            args: arrays, ``jax.ShapeDtypeStruct`` or trees of them; given arrays serve verification and timing.
            kwargs: likewise.
        """
        self._refresh()
        result = plan(self._function, args, kwargs, self._options)
        if not result.captured.constants or not any(isinstance(c, jax.core.Tracer) for c in result.captured.constants):
            self._results[self._key(args, kwargs)] = result
        return result

    @property
    def options(self) -> Options:
        """What was asked for."""
        return self._options

    def lower(self, *args: Any, **kwargs: Any) -> Any:
        """``jax.jit``'s ``lower`` of the optimised program."""
        self._refresh()
        with precision_of(self._function):
            return self._jitted.lower(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<optimized {getattr(self._function, '__name__', self._function)!s}>"

    def _trace(self, *args: Any, **kwargs: Any) -> Any:
        result = self._result(args, kwargs)
        return result.traceable(result.held, args, kwargs)

    def _result(self, args: Any, kwargs: Any) -> Result:
        key = self._key(args, kwargs)
        result = self._results.get(key)
        if result is None:
            types, named = jax.tree.map(_struct, (args, kwargs))
            with outside_of_traces():
                result = plan(self._function, types, named, self._options)
            if not any(isinstance(c, jax.core.Tracer) for c in result.captured.constants):
                self._results[key] = result
        return result

    def _key(self, args: Any, kwargs: Any) -> Any:
        """What a plan is for: structure, static values, types of the leaves with their weakness, settings of JAX."""
        arguments = self._arguments(args, kwargs)
        types = tuple(str(jax.typeof(leaf)) for leaf in arguments.leaves)
        return arguments.tree, arguments.static, types, trace_settings()

    def _arguments(self, args: Any, kwargs: Any) -> Arguments:
        options = self._options
        return Arguments.flatten(self._function, args, kwargs, options.static_argnums, options.static_argnames)

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else functools.partial(self, instance)


def optimize(function: Callable[..., Any] | None = None, **options: Any) -> Any:
    """Make a function run a cheaper equal program.

    Use as ``optimize(f)``, ``@optimize`` or ``@optimize(numerics="exact")``.

    Args:
        function: a JAX-traceable function, or a loaded model.
        options: ``numerics`` ("exact", "reassociate", "finite"), ``budget`` (seconds of search), ``rules`` (paths,
            rules, names of installed packs or a list of these, added to the shipped ones; a ``RuleSet`` is used as it
            is), ``objective`` ("time", or "memory": the least peak of temporary memory), ``measure`` ("auto", True,
            False), ``cost`` ("roofline", "flops" or a model), ``frozen`` (names of parameters that stay the same
            between calls, see ``Result.prepare``), ``static_argnums``, ``static_argnames``, ``fold_constants``,
            ``strict``, ``verify``, ``seed``.

    Returns:
        The optimised function, with ``plan`` to look at the work.

    Raises:
        ArgumentError: an option that does not exist or fit.
    """
    if function is None:
        make_options(**options)
        return functools.partial(optimize, **options)
    if not callable(function):
        kind = type(function).__name__  # type: ignore[unreachable]
        raise ArgumentError(f"optimize: want a function, got {kind}; load files with egraph_opt.load")
    return Optimized(function, _with_statics_of(function, make_options(**options)))


def _with_statics_of(function: Callable[..., Any], options: Options) -> Options:
    """What a jitted function was told is static stays static."""
    positions, names = static_arguments(function)
    return replace(
        options,
        static_argnums=tuple(dict.fromkeys((*options.static_argnums, *positions))),
        static_argnames=tuple(dict.fromkeys((*options.static_argnames, *names))),
    )


def load(path: str | Path, shapes: Mapping[str, Sequence[int | str] | int] | None = None) -> LoadedModel:
    """Read a model file as a JAX function.

    Args:
        path: ``.onnx``, ``.jaxexport``, ``.stablehlo`` or ``.mlir``.
        shapes: name of a dimension -> its size, where the file leaves it open; for ONNX models also input -> its shape.

    Returns:
        A function with ``example_args()``.

    Raises:
        ModelError: the file cannot be read.
        UnsupportedOpError: it holds an operation that is not known.
    """
    return load_model(path, shapes)


def rule(
    *,
    name: str,
    numerics: str,
    shapes: Any = None,
    when: Callable[..., Any] | None = None,
    where: Mapping[str, Callable[..., Any]] | None = None,
    dtypes: str | Sequence[str] | Mapping[str, str] | None = None,
) -> Callable[[Callable[..., Any], Callable[..., Any]], FunctionRule]:
    """Define a rule by two JAX functions of the same variables, as in ``rule(name=..., numerics=...)(left, right)``.

    Both are captured and become rule text (``.text``), which holds for all sizes and, where it makes no difference, for
    all element types. Use it in ``optimize(rules=[r])``, or save the text in a ``.egg`` file.

    Args:
        name: kebab-case.
        numerics: "exact", "reassociate" or "finite".
        shapes: of the variables: text with names of sizes (``"n k"``; equal names are equal sizes, ``"... n k"`` any
            number of leading ones up to two), example arrays, or a list or dictionary of these, one text for all
            meaning the same for each. Without it ranks 2, 1, 0, 3 are tried and the first that fit are taken, with as
            many different sizes as fit.
        when: a condition on the operands' types: ``lambda a, b: a.shape[0] < b.shape[0]``.
        where: further parameters of the right side, computed of the operands' types:
            ``{"n": lambda a: a.shape[0]}``.
        dtypes: element type or types for which the rule may hold, or those of single variables, as ``{"c": "bool"}``;
            without it all that give the same text, but those of one kind (floating for most) where the rule does more
            than add, multiply and move elements.

    Returns:
        A function of the left and the right side that gives the rule.

    Raises:
        RuleError: when that is called with functions that make no rule, with the file and line of the left one.
    """
    return functools.partial(define, name=name, numerics=numerics, shapes=shapes, when=when, where=where, dtypes=dtypes)


def _struct(leaf: Any) -> Any:
    if isinstance(leaf, jax.Array):
        aval = jax.typeof(leaf)
        return jax.ShapeDtypeStruct(aval.shape, aval.dtype, weak_type=aval.weak_type)
    return leaf
