# SPDX-License-Identifier: Apache-2.0
"""Softmax, its logarithm, and log-sum-exp over one dimension."""

from __future__ import annotations

from typing import Any

import jax

from egraph_opt.kernels import pallas_rows
from egraph_opt.kernels.record import Kernel


def _softmax(x: Any) -> Any:
    return jax.nn.softmax(x, axis=-1)


def _log_softmax(x: Any) -> Any:
    return jax.nn.log_softmax(x, axis=-1)


def _logsumexp(x: Any) -> Any:
    return jax.nn.logsumexp(x, axis=-1)


_EXP = frozenset({"exp"})
_LOG = frozenset({"exp", "log"})

KERNELS = (
    Kernel(
        name="softmax",
        pattern=_softmax,
        shapes=("... n",),
        result="... n",
        lowerings=(pallas_rows.way(pallas_rows.softmax),),
        doc="exp(x) / sum(exp(x))",
        families=_EXP,
    ),
    Kernel(
        name="log_softmax",
        pattern=_log_softmax,
        shapes=("... n",),
        result="... n",
        lowerings=(pallas_rows.way(pallas_rows.log_softmax),),
        doc="x - logsumexp(x)",
        families=_LOG,
    ),
    Kernel(
        name="logsumexp", pattern=_logsumexp, shapes=("... n",), result="...", doc="log(sum(exp(x)))", families=_LOG
    ),
)
