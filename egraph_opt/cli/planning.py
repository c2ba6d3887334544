# SPDX-License-Identifier: Apache-2.0
"""From a command's options to a loaded and planned model."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from egraph_opt.api import load
from egraph_opt.cli.output import progress as show_progress
from egraph_opt.cost import Device, Roofline
from egraph_opt.errors import ArgumentError
from egraph_opt.frontends import LoadedModel
from egraph_opt.options import Options, make_options
from egraph_opt.pipeline import plan
from egraph_opt.recorded import Recorded, read_recorded
from egraph_opt.result import Result


def load_model(options: argparse.Namespace, path: Path) -> LoadedModel:
    """The model of a command, with the shapes that its options give.

    Raises:
        ArgumentError: two shapes for one name.
    """
    shapes: dict[str, Any] = {}
    for name, sizes in options.shape:
        if shapes.setdefault(name, sizes) != sizes:
            raise ArgumentError(f"--shape {name}: is given twice, as {shapes[name]} and as {sizes}; give it once")
    return load(path, shapes or None)


def options_of(options: argparse.Namespace) -> Options:
    """The options of ``optimize`` that a command line gives."""
    return make_options(
        budget=2.0 if options.budget is None else options.budget,
        numerics=options.numerics,
        rules=options.rules,
        unchecked=options.unchecked,
        cost=Roofline(Device.load(options.cost)) if options.cost.endswith(".json") else options.cost,
        measure=False if options.no_measure else "auto",
        fold_constants=options.fold_constants,
        frozen=options.frozen,
    )


def plan_model(options: argparse.Namespace, check: Path | None = None) -> tuple[Result, Recorded | None]:
    """A command's model, planned for the inputs recorded in ``check``, or for random ones; and what was recorded."""
    wanted = options_of(options)
    with show_progress() as progress:
        progress("loading")
        model = load_model(options, options.model)
        recorded = read_recorded(check, model) if check else None
        args, kwargs = (recorded.args, {}) if recorded else model.example_call()
        return plan(model, args, kwargs, wanted, progress), recorded
