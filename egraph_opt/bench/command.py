# SPDX-License-Identifier: Apache-2.0
"""``egraph-opt bench``: options, the run over the selected cases, and what is printed."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence

import jax

from egraph_opt.bench import models
from egraph_opt.bench.models import ModelRow, is_model, model_files, run_model
from egraph_opt.bench.options import add_arguments
from egraph_opt.bench.run import BenchOptions, Row, run_case, versions
from egraph_opt.bench.suites import SCORED, SUITES, select, suite
from egraph_opt.bench.table import cells, gaps, head, line, summary
from egraph_opt.errors import ArgumentError, EgraphOptError
from egraph_opt.frontends import write_atomically

Say = Callable[[str], None]
RIVALS = ("jit", "hand", "greedy")


def run(options: argparse.Namespace, say: Say, progress: Say = lambda text: None) -> int:
    """Run the selection; the status is 1 when a case ended with an error.

    Args:
        options: parsed.
        say: prints a line of the result.
        progress: told what is being done.

    Raises:
        ArgumentError: an unknown suite or rival.
        OutputError: a file cannot be written.
    """
    if options.list:
        _list(options.suite, say)
        return 0
    if any(map(is_model, options.suite)):
        return _models(options, say, progress)
    wanted = _bench_options(options)
    names = options.suite or (SCORED if options.gaps else ())
    cases = select(names, options.quick)
    about = versions()
    timed, greedy = not wanted.flops, "greedy" in wanted.against
    text = [", ".join(f"{key} {value}" for key, value in about.items()), "", head(timed, greedy)]
    if not options.gaps:
        say("\n".join(text))
    rows: list[Row] = []
    for number, selected in enumerate(cases, 1):
        progress(f"{selected.suite}: {selected.case.name} ({number} of {len(cases)})")
        rows.append(run_case(selected, wanted))
        text.append(line(cells(rows[-1], timed, greedy)))
        if not options.gaps:
            say(text[-1])
        jax.clear_caches()
    closing = f"{gaps(rows)}\n\n{summary(rows)}" if options.gaps else f"\n{summary(rows)}"
    say(closing)
    content = [text[0], "", closing] if options.gaps else [*text, closing]
    _write(options, content, [about | row.as_dict() for row in rows])
    return int(any(row.failed for row in rows))


def _models(options: argparse.Namespace, say: Say, progress: Say) -> int:
    """The same for model files."""
    suites = [name for name in options.suite if not is_model(name)]
    if suites:
        raise ArgumentError(f"bench {' '.join(suites)}: models have a table of their own; run suites alone")
    files = model_files(options.suite)
    about = versions()
    text = [", ".join(f"{key} {value}" for key, value in about.items()), "", line(models.HEADS)]
    text.append(f"|{'---|' * len(models.HEADS)}")
    say("\n".join(text))
    rows: list[ModelRow] = []
    for number, path in enumerate(files, 1):
        progress(f"{path.name} ({number} of {len(files)})")
        rows.append(run_model(path, options.budget, not options.flops))
        text.append(line(rows[-1].cells()))
        say(text[-1])
        jax.clear_caches()
    closing = f"\n{models.summary(rows)}"
    say(closing)
    _write(options, [*text, closing], [about | row.as_dict() for row in rows])
    return int(any(row.failed for row in rows))


def _write(options: argparse.Namespace, table: Sequence[str], rows: Sequence[dict[str, object]]) -> None:
    if options.table is not None:
        write_atomically(options.table, ("\n".join(table) + "\n").encode())
    if options.json is not None:
        lines = [json.dumps(row, sort_keys=True) + "\n" for row in rows]
        write_atomically(options.json, "".join(lines).encode())


def _bench_options(options: argparse.Namespace) -> BenchOptions:
    against = tuple(part.strip() for part in options.against.split(",") if part.strip())
    for rival in against:
        if rival not in RIVALS:
            raise ArgumentError(f"--against {rival}: want some of {', '.join(RIVALS)}, with commas between")
    return BenchOptions(
        against=against,
        flops=options.flops or options.gaps,
        budget=options.budget,
        frozen=tuple(options.frozen),
        small=options.small,
    )


def _list(names: Sequence[str], say: Say) -> None:
    for name in names or SUITES:
        cases = suite(name) if name in SUITES else [one.case for one in select([name])]
        say(f"{name}: {SUITES.get(name, 'case')}")
        for case in cases:
            say(f"  {case.family:2} {case.name}")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command alone, as ``python -m benchmarks.run``."""
    parser = argparse.ArgumentParser(description="Run benchmark suites.")
    add_arguments(parser)
    try:
        return run(parser.parse_args(arguments), lambda text: print(text, flush=True))  # noqa: T201
    except EgraphOptError as error:
        print(f"bench: {' '.join(str(error).split())}", file=sys.stderr)  # noqa: T201
        return 2
