# SPDX-License-Identifier: Apache-2.0
"""Softmax cross-entropy with shares of classes as targets, and with labels.

Labels that no class has are part of it: ``wraps`` says whether negative ones count from the end, ``outside`` what the
others give: NaN, zero, the nearest class's loss (clip), or the loss of no class at all (none), which is the logarithm
of the sum of exponentials.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from egraph_opt.ir import TensorType
from egraph_opt.kernels.labels import labelled_draws
from egraph_opt.kernels.record import Kernel
from egraph_opt.ops.kernel import Lowering

Static = Mapping[str, Any]
Types = Sequence[TensorType]

OUTSIDE = ("nan", "zero", "none", "clip")


def _dense(x: Any, targets: Any, *, sign: float) -> Any:
    return (targets * jax.nn.log_softmax(x, axis=-1)).sum(-1) * jnp.asarray(-sign, x.dtype)


def _signs(scalars: Sequence[float], types: Types) -> Iterable[Static]:
    del scalars, types
    yield from ({"sign": sign} for sign in (1.0, -1.0))


def _ways(scalars: Sequence[float], types: Types) -> Iterable[Static]:
    """Negative labels that count from the end go with NaN as a rule, others with zero."""
    del scalars, types
    orders = sorted(itertools.product((True, False), OUTSIDE), key=lambda way: way not in LIKELY)
    yield from ({"sign": s, "wraps": w, "outside": o} for s in (1.0, -1.0) for w, o in orders)


LIKELY = ((True, "nan"), (False, "zero"), (False, "none"), (True, "clip"))


def pattern(x: Any, labels: Any, *, sign: float, wraps: bool, outside: str) -> Any:
    """The loss with labels in operations that differ in no label."""
    labels, inside = _placed(x, labels, wraps)
    same = lax.broadcasted_iota(labels.dtype, x.shape, x.ndim - 1) == labels[..., None]
    loss = jax.nn.logsumexp(x, axis=-1) - jnp.where(same, x, jnp.zeros((), x.dtype)).sum(-1)
    return _settled(x, loss, inside, sign, outside)


def picked(x: Any, labels: Any, *, sign: float, wraps: bool, outside: str) -> Any:
    """The logarithm of the sum of exponentials less the label's score: no logarithm of a softmax is stored."""
    labels, inside = _placed(x, labels, wraps)
    at = jnp.take_along_axis(x, labels[..., None], axis=-1, mode="promise_in_bounds")[..., 0]
    return _settled(x, jax.nn.logsumexp(x, axis=-1) - at, inside, sign, outside)


def _placed(x: Any, labels: Any, wraps: bool) -> tuple[Any, Any]:
    """Labels of classes that there are, and which of them were."""
    classes = jnp.asarray(x.shape[-1], labels.dtype)
    zero = jnp.zeros((), labels.dtype)
    if wraps:
        labels = jnp.where(labels < zero, labels + classes, labels)
    return jnp.clip(labels, zero, classes - 1), (labels >= zero) & (labels < classes)


def _settled(x: Any, loss: Any, inside: Any, sign: float, outside: str) -> Any:
    if outside == "nan":
        loss = jnp.where(inside, loss, jnp.asarray(jnp.nan, x.dtype))
    elif outside == "zero":
        loss = jnp.where(inside, loss, jnp.zeros((), x.dtype))
    elif outside == "none":
        loss = jnp.where(inside, loss, jax.nn.logsumexp(x, axis=-1))
    return loss if sign == 1.0 else -loss


def _seconds(types: Types, static: Static, device: Any) -> float:
    """Scores are read twice; one exponential each."""
    del static
    scores = types[0]
    traffic = 2.0 * scores.nbytes / device.bandwidth_for(scores.nbytes)
    busy = scores.size / device.transcendentals
    return float(3.0 * device.launch_seconds + max(traffic, busy) + 0.5 * min(traffic, busy))


def _bytes(types: Types, static: Static) -> float:
    """A few numbers for each row."""
    del static
    return 4.0 * types[0].nbytes / max(1, types[0].shape[-1])


def _say(static: Static) -> str:
    kept = {"nan": "NaN", "zero": "0", "none": "the loss of no class", "clip": "clipped"}[static["outside"]]
    wrapped = "negative ones from the end, " if static["wraps"] else ""
    return f"{'negated, ' if static['sign'] < 0 else ''}other labels: {wrapped}{kept}"


_LOG = frozenset({"exp", "log"})
SAMPLE = {"sign": 1.0, "wraps": True, "outside": "nan"}

KERNELS = (
    Kernel(
        name="cross_entropy",
        pattern=_dense,
        shapes=("... n", "... n"),
        result="...",
        statics=_signs,
        samples=({"sign": 1.0}, {"sign": -1.0}),
        describe=lambda static: "negated" if static["sign"] < 0 else "",
        doc="-sum(targets log_softmax(x))",
        families=_LOG,
    ),
    Kernel(
        name="cross_entropy_labels",
        pattern=pattern,
        shapes=("... n", "..."),
        result="...",
        lowerings=(
            Lowering(name="picked", function=picked, seconds=_seconds, temporary_bytes=_bytes, differentiable=True),
        ),
        statics=_ways,
        samples=tuple({**SAMPLE, "wraps": wraps, "outside": outside} for wraps in (True, False) for outside in OUTSIDE),
        describe=_say,
        doc="logsumexp(x) - x[label]",
        families=_LOG,
        labels=frozenset({1}),
        draws=labelled_draws,
    ),
)
