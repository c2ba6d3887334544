# SPDX-License-Identifier: Apache-2.0
"""A ``while`` under ``vmap`` whose condition is one bool per batch element.

JAX's primitive allows it: the loop runs while any element goes on, and elements that are done keep their values. Here
that meaning is written out, so that the loop is an ordinary one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.extend.core as jex
from jax import lax


def is_batched(params: Mapping[str, Any]) -> bool:
    """Whether the condition of a ``while`` is not a scalar."""
    return bool(params["cond_jaxpr"].out_avals[0].shape)


def unbatched(params: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters of an ordinary ``while`` of the same meaning; the body takes the condition's constants first."""
    first, second = params["cond_nconsts"], params["body_nconsts"]
    test, step = jex.jaxpr_as_fun(params["cond_jaxpr"]), jex.jaxpr_as_fun(params["body_jaxpr"])
    before, after = params["cond_jaxpr"].in_avals[:first], params["body_jaxpr"].in_avals

    def proceed(*operands: Any) -> Any:
        (going,) = test(*operands)
        return lax.reduce_or(going, tuple(range(going.ndim)))

    def advance(*operands: Any) -> list[Any]:
        carry = operands[first + second :]
        (going,) = test(*operands[:first], *carry)
        return [_choose(going, new, old) for new, old in zip(step(*operands[first:]), carry, strict=True)]

    carry = after[second:]
    return {
        "cond_nconsts": first,
        "cond_jaxpr": jax.make_jaxpr(proceed)(*map(_struct, (*before, *carry))),
        "body_nconsts": first + second,
        "body_jaxpr": jax.make_jaxpr(advance)(*map(_struct, (*before, *after))),
    }


def _choose(going: Any, new: Any, old: Any) -> Any:
    return lax.select(lax.broadcast_in_dim(going, new.shape, tuple(range(going.ndim))), new, old)


def _struct(aval: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(aval.shape, aval.dtype, weak_type=getattr(aval, "weak_type", False))
