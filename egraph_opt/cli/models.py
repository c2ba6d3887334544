# SPDX-License-Identifier: Apache-2.0
"""Commands that take a model, and those that measure: optimize, inspect, explain, bisect, bench, calibrate."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from egraph_opt.capture import capture
from egraph_opt.cli.interrupts import INTERRUPTS
from egraph_opt.cli.output import check_writable, say, say_now
from egraph_opt.cli.output import progress as show_progress
from egraph_opt.cli.planning import load_model, plan_model
from egraph_opt.engine import RuleSet
from egraph_opt.errors import ArgumentError, CheckError
from egraph_opt.frontends import LoadedModel, write_atomically
from egraph_opt.inspect import inspect_graph
from egraph_opt.ir.numerics import Numerics
from egraph_opt.onnx_output import ready_as_onnx
from egraph_opt.onnx_trial import rounding
from egraph_opt.recorded import Recorded
from egraph_opt.result import Result
from egraph_opt.rules.packs import load as load_rules

SUFFIXES = (".jaxexport", ".stablehlo", ".mlir", ".onnx", ".py")


def optimize(options: argparse.Namespace) -> int:
    """Optimise a model and write it; compares with recorded outputs where they are given."""
    outputs = {"-o": options.output, "--report": options.report, "--json": options.json}
    given = {flag: path for flag, path in outputs.items() if path is not None}
    for flag, path in given.items():
        check_writable(flag, path)
    if len({path.resolve() for path in given.values()}) < len(given):
        raise ArgumentError(f"{', '.join(given)}: two of them name the same file; give each its own")
    for flag, path in given.items():
        for what, read in (("the model", options.model), ("the file of --check", options.check)):
            if read is not None and path.exists() and read.exists() and path.samefile(read):
                raise ArgumentError(f"{flag} {path}: is {what} itself; give another name")
    if options.output.suffix.lower() not in SUFFIXES:
        raise ArgumentError(f"-o {options.output}: suffix {options.output.suffix!r}; want one of {', '.join(SUFFIXES)}")
    result, recorded = plan_model(options, options.check)
    verdict = _compared(result, recorded) if recorded else ""
    write = _ready(options, result, recorded)
    texts = {options.report: lambda: _page(result), options.json: result.report.to_json}
    contents = {path: text().encode() for path, text in texts.items() if path is not None}
    INTERRUPTS.check()
    write()
    for path, content in contents.items():
        write_atomically(path, content)
    say(result.report)
    if verdict:
        say(verdict)
    for path in given.values():
        say(f"wrote {path}")
    return 0


def _ready(options: argparse.Namespace, result: Result, recorded: Recorded | None) -> Callable[[], None]:
    """What writes the chosen program; an ONNX model has run by then, on the inputs that were planned for."""
    function = result.convention.function
    if options.output.suffix.lower() != ".onnx" or not isinstance(function, LoadedModel):
        return lambda: result.save(options.output)
    source = options.model if options.model.suffix.lower() == ".onnx" else None
    args = recorded.args if recorded else function.example_args()
    with show_progress() as progress:
        progress("trying the written model in onnxruntime")
        return ready_as_onnx(result, options.output, source, args)


def _compared(result: Result, recorded: Recorded) -> str:
    """What the recorded outputs say of the original and of the chosen program.

    Raises:
        CheckError: one of them computes something else.
    """
    before = max(recorded.differences(result.convention.function).values())
    after = max(recorded.differences(result).values())
    allowed = rounding(result)
    for name, gap in (("the model as loaded", before), ("the optimised model", after)):
        if not gap <= allowed:
            raise CheckError(
                f"--check {recorded.path}: {name} differs from the recorded outputs by {gap:.2g} of their scale"
                f" (at most {allowed:.2g}); nothing was written"
            )
    count = len(recorded.outputs)
    return f"recorded outputs ({count}): differ by {before:.1e} before, {after:.1e} after, of their scale"


def _page(result: Result) -> str:
    from egraph_opt.explain.explanation import fragment

    return result.report.to_html(fragment(result))


def inspect(options: argparse.Namespace) -> int:
    """Print what a model holds."""
    model = load_model(options, options.model)
    with model.precision():
        graph = capture(model, *model.example_call(), arrays=model.constants).graph
        say(inspect_graph(graph, model.name))
    if options.graph:
        say(graph)
    return 0


def _question(options: argparse.Namespace, text: str) -> str | LoadedModel:
    """A name, or the model that a path names."""
    path = Path(text)
    return load_model(options, path) if path.suffix.lower() in SUFFIXES else text


def explain(options: argparse.Namespace) -> int:
    """Optimise a model and print what changed and why."""
    if options.json is not None:
        check_writable("--json", options.json)
    questions = [(text, _question(options, text)) for text in options.why_not]
    result = plan_model(options)[0]
    explanation = result.explain()
    for text, question in questions:
        try:
            say(replace(result.why_not(question), question=text))
        except ArgumentError as error:
            raise ArgumentError(f"--why-not {text}: {str(error).removeprefix('why_not: ')}") from None
    if not questions:
        say(explanation)
    if options.json is not None:
        write_atomically(options.json, explanation.to_json().encode())
        say(f"wrote {options.json}")
    fault = explanation.check() if options.check else ""
    if options.check:
        say(f"certificate refused: {fault}" if fault else "certificate checked: every step holds")
    return 1 if fault else 0


def bisect(options: argparse.Namespace) -> int:
    """Name the rule that makes a model wrong."""
    from egraph_opt.bisect import bisect

    numerics = Numerics.parse(options.numerics)
    given = load_rules(options.rules) if options.rules else RuleSet.shipped()
    rules = given.admitted(numerics)
    with show_progress() as progress:
        progress("loading")
        model = load_model(options, options.model)
        with model.precision():
            graph = capture(model, *model.example_call(), numerics=numerics).graph
        found = bisect(graph, rules, progress=progress)
    say(found)
    left_out = sum(not rule.numerics <= numerics for rule in given) if options.rules else 0
    if left_out and found.rule is None:
        say(
            f"not asked: {left_out} of {len(given)} rules, of a class that --numerics {options.numerics} does not admit"
        )
    return 1 if found.found else 0


def bench(options: argparse.Namespace) -> int:
    """Run benchmark suites."""
    from egraph_opt.bench.command import run

    for flag, path in (("--json", options.json), ("--table", options.table)):
        if path is not None:
            check_writable(flag, path)
    with show_progress() as progress:
        return run(options, say_now, progress)


def calibrate(options: argparse.Namespace) -> int:
    """Measure this device."""
    from egraph_opt.measure.calibrate import calibrate

    if options.output is not None:
        check_writable("-o", options.output)
    with show_progress() as progress:
        progress("measuring this device")
        device = calibrate()
    if options.output is not None:
        write_atomically(options.output, device.to_json().encode())
        say(f"wrote {options.output}")
    else:
        say(device.to_json().rstrip())
    return 0
