# SPDX-License-Identifier: Apache-2.0
"""Recorded inputs and outputs of a model, from an ``.npz`` file: ``egraph-opt optimize --check FILE.npz``.

Arrays are found by the names of the model's inputs and outputs. Where it has no names, or the file has others, inputs
are ``arr_0``, ``arr_1`` ... and outputs ``out`` or ``out_0``, ``out_1`` ...; inputs under yet other names are taken in
their order when there are as many as the model has.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from egraph_opt.errors import ArgumentError, ModelError
from egraph_opt.frontends import LoadedModel

TOLERANCE = 1e-4
"""Largest difference to a recorded output, relative to its largest element."""

TEXT = "OSU"
"""Kinds of arrays of strings."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a file recorded of a model.

    Args:
        path: the file.
        args: inputs in the order of the call.
        outputs: place of an output -> its recorded value.
    """

    path: Path
    args: tuple[Any, ...]
    outputs: Mapping[int, np.ndarray]

    def differences(self, function: Callable[..., Any]) -> dict[int, float]:
        """For each recorded output the largest difference of what ``function`` computes, relative to its scale."""
        got = jax.tree.leaves(function(*self.args))
        found = {}
        for place, want in self.outputs.items():
            have = np.asarray(got[place])
            if have.shape != want.shape:
                raise ArgumentError(
                    f"{self.path}: output {place} is recorded as {list(want.shape)}, got {list(have.shape)}"
                )
            if (have.dtype.kind in TEXT) != (want.dtype.kind in TEXT):
                raise ArgumentError(f"{self.path}: output {place} is recorded as {want.dtype}, got {have.dtype}")
            found[place] = difference(have, want)
        return found


def read_recorded(path: Path, model: LoadedModel) -> Recorded:
    """The arrays of a file, assigned to the inputs and outputs of a model.

    Raises:
        ModelError: the file cannot be read.
        ArgumentError: it lacks an input, or holds no output.
    """
    try:
        with zipfile.ZipFile(path), np.load(path) as file:  # a single .npy is no archive, and numpy would read it
            arrays = dict(file)
    except FileNotFoundError as error:
        raise ModelError(
            f"--check {path}: there is no such file; give an .npz with recorded inputs and outputs"
        ) from error
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ModelError(f"--check {path}: cannot be read as .npz; write it with numpy.savez") from error
    inputs: Sequence[str] = getattr(model, "input_names", ())
    outputs: Sequence[str] = getattr(model, "output_names", ())
    others = [name for name in arrays if name not in outputs and not re.fullmatch(r"out(_\d+)?", name)]
    ordered = others if len(others) == len(model.in_avals) else []
    args = []
    for place in range(len(model.in_avals)):
        names = [*inputs[place : place + 1], f"arr_{place}", f"in_{place}"]
        found = next((name for name in (*names, *ordered[place : place + 1]) if name in arrays), None)
        if found is None:
            raise ArgumentError(f"--check {path}: no array for input {place}; want the name {' or '.join(names)}")
        args.append(arrays[found])
    tree_args, kwargs = jax.tree.unflatten(model.in_tree, args)
    if kwargs:
        raise ArgumentError(f"--check {path}: the model takes keyword arguments; want positional ones only")
    count = len(outputs) or model.out_tree.num_leaves
    wanted: dict[int, np.ndarray] = {}
    for place in range(count):
        names = [*outputs[place : place + 1], f"out_{place}", *(["out"] if place == 0 else [])]
        found = next((name for name in names if name in arrays), None)
        if found is not None:
            wanted[place] = arrays[found]
    if not wanted:
        raise ArgumentError(
            f"--check {path}: no recorded output; want the name {' or '.join([*outputs, 'out', 'out_0'])}"
        )
    return Recorded(path, tuple(tree_args), wanted)


def difference(have: np.ndarray, want: np.ndarray) -> float:
    """Largest difference relative to the largest element; of integers and strings how many differ."""
    if all(x.dtype.kind in "iub" for x in (have, want)) or all(x.dtype.kind in TEXT for x in (have, want)):
        return float(np.count_nonzero(have != want))
    have, want = (np.asarray(x, np.complex128 if x.dtype.kind == "c" else np.float64) for x in (have, want))
    same = (have == want) | (np.isnan(have) & np.isnan(want))
    if same.all():
        return 0.0
    gap = float(np.max(np.abs(have - want), where=~same, initial=0.0))
    scale = float(np.max(np.abs(want), where=np.isfinite(want), initial=0.0)) or 1.0
    return gap / scale if np.isfinite(gap) else float("inf")
