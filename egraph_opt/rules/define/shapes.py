# SPDX-License-Identifier: Apache-2.0
"""Shapes of a rule's variables: as declared, as in examples, or the most general ones that both sides accept."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from egraph_opt.errors import RuleError
from egraph_opt.rules.define.sizes import FIRST, fresh_names

Dims = tuple[str, ...]
Shapes = Mapping[str, Dims]
Accepts = Callable[[Shapes], bool]
Block = list[tuple[str, int]]
"""Dimensions of equal size, each as variable and position."""

Blocks = list[Block]

LEADING = ("A", "B", "C")
"""Names of the dimensions that ``...`` stands for: none, one, two, and three where nothing else is declared."""

RANKS = (2, 1, 0, 3)
"""Ranks that are tried, in this order, when nothing is declared."""

MAX_MIXED = 3
"""Most variables whose ranks are tried in every combination."""


def given_shapes(names: Sequence[str], given: Any) -> tuple[list[Shapes], dict[str, str]]:
    """Shapes from what the author wrote, one set for each rank of ``...``, and element types where arrays say them.

    Raises:
        RuleError: they do not fit the variables.
    """
    table = _by_name(names, given)
    dtypes = {name: str(value.dtype) for name, value in table.items() if hasattr(value, "dtype")}
    sizes = sorted({n for value in table.values() if hasattr(value, "shape") for n in value.shape})
    of_size = dict(zip(sizes, fresh_names(len(sizes)), strict=True))
    texts = {
        name: " ".join(of_size[n] for n in value.shape) if hasattr(value, "shape") else str(value)
        for name, value in table.items()
    }
    if 1 in sizes:
        raise RuleError("shapes: an example has a dimension of size 1, which stands for nothing; leave it out")
    for name, text in texts.items():
        for word in text.split():
            if word != "..." and not re.fullmatch(r"[a-z]\w*", word):
                raise RuleError(f"shapes: {name!r} is {text!r}; want names of sizes as in 'n k', or '... n k'")
    spread = any("..." in text.split() for text in texts.values())
    alone = all(text.strip() == "..." for text in texts.values())
    counts = range(len(LEADING) + alone) if spread else [0]
    return [{name: _dims(texts[name], count) for name in names} for count in counts], dtypes


def general_shapes(names: Sequence[str], accepts: Accepts) -> Shapes | None:
    """The first ranks that ``accepts`` takes, with as many different sizes as it takes."""
    for ranks in _ranks(len(names)):
        slots = [(name, i) for name, rank in zip(names, ranks, strict=True) for i in range(rank)]
        blocks: Blocks = [slots] if slots else []
        if accepts(_shapes(names, ranks, blocks)):
            found = _finest(slots, partial(_fits, names, ranks, accepts))
            return _shapes(names, ranks, found) if len(found) <= len(FIRST) else None
    return None


def _fits(names: Sequence[str], ranks: Sequence[int], accepts: Accepts, blocks: Blocks) -> bool:
    return accepts(_shapes(names, ranks, blocks))


def _finest(slots: Block, fits: Callable[[Blocks], bool]) -> Blocks:
    """Blocks of slots of equal size, split as far as they fit: each is the smallest that may differ from the rest."""
    done: Blocks = []
    while slots:
        parts = ([slots[0], *others] for n in range(len(slots) - 1) for others in itertools.combinations(slots[1:], n))
        split = ((part, [slot for slot in slots if slot not in part]) for part in parts)
        part, slots = next((pair for pair in split if fits([*done, *pair])), (slots, []))
        done.append(part)
    return done


def _ranks(count: int) -> Iterator[tuple[int, ...]]:
    same = [(rank,) * count for rank in RANKS]
    yield from same
    if count <= MAX_MIXED:
        yield from (ranks for ranks in itertools.product(RANKS, repeat=count) if ranks not in same)


def _shapes(names: Sequence[str], ranks: Sequence[int], blocks: Iterable[Sequence[tuple[str, int]]]) -> Shapes:
    listed = sorted(blocks, key=min)
    size = {slot: name for block, name in zip(listed, fresh_names(len(listed)), strict=False) for slot in block}
    return {name: tuple(size[name, i] for i in range(rank)) for name, rank in zip(names, ranks, strict=True)}


def _by_name(names: Sequence[str], given: Any) -> dict[str, Any]:
    if isinstance(given, str):
        return dict.fromkeys(names, given)
    if isinstance(given, Mapping):
        table = dict(given)
    elif isinstance(given, Sequence):
        if len(given) != len(names):
            raise RuleError(f"shapes: {len(given)} given for {len(names)} variables ({', '.join(names)})")
        table = dict(zip(names, given, strict=True))
    else:
        raise RuleError(f"shapes={given!r}; want text such as 'n k', arrays, or a list or dictionary of these")
    for name in [*table, *names]:
        if name not in names:
            raise RuleError(f"shapes: there is no variable {name!r}; there are {', '.join(names)}")
        if name not in table:
            raise RuleError(f"shapes: none given for {name!r}")
    return table


def _dims(text: str, count: int) -> Dims:
    return tuple(d for word in text.split() for d in (LEADING[:count] if word == "..." else (word,)))
