# SPDX-License-Identifier: Apache-2.0
"""The choice under ``objective="memory"``: programs are compiled, and XLA says how much each holds while it runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax

TIE = 1.1
"""Programs that hold no more than this multiple of the least are as good: the fastest of them is taken."""

LEAST_GAIN = 0.95
"""What is chosen holds less than this part of what the original holds."""


@dataclass(frozen=True, slots=True)
class Smallest:
    """Which program to take.

    Args:
        index: of it; 0 is the original.
        sizes: bytes that each program holds beside arguments and results; None where the compiler does not say [byte].
        why: in words.
    """

    index: int
    sizes: tuple[float | None, ...]
    why: str


def temporary_size(function: Callable[..., Any], args: Sequence[Any]) -> float | None:
    """Bytes of temporary memory of a compiled program, by its compiler; None where that does not say [byte]."""
    analysis = jax.jit(function).lower(*args).compile().memory_analysis()
    size = getattr(analysis, "temp_size_in_bytes", None)
    return None if size is None else float(size)


def smallest(functions: Sequence[Callable[..., Any]], args: Sequence[Any], seconds: Sequence[float]) -> Smallest:
    """The program that holds least; of equal ones the fastest, and the original where nothing is gained.

    Args:
        functions: the original, then the others.
        args: of all of them.
        seconds: predicted run time of each [s].
    """
    sizes = tuple(temporary_size(function, args) for function in functions)
    own = sizes[0]
    if own is None:
        return Smallest(0, sizes, "the compiler does not say what programs hold")
    known = {i: size for i, size in enumerate(sizes) if size is not None}
    least = min(known.values())
    near = [i for i, size in known.items() if size <= TIE * least]
    index = min(near, key=lambda i: (seconds[i], i))
    if index == 0 or known[index] > LEAST_GAIN * own:
        return Smallest(0, sizes, "no program holds less")
    return Smallest(index, sizes, "it holds least")
