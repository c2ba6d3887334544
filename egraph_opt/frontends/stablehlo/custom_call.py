# SPDX-License-Identifier: Apache-2.0
"""Rules of custom calls: LAPACK's routines under their JAX names, markers that do nothing, and shape assertions.

LAPACK's calls also return a status. JAX's own functions answer a failure with NaN, which is what the code that reads
the status would write, so the status is always zero here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from egraph_opt.errors import ArgumentError
from egraph_opt.frontends.stablehlo.evaluate import Frame
from egraph_opt.frontends.stablehlo.module import Operation
from egraph_opt.frontends.stablehlo.table import Array, OpTable

TABLE = OpTable()

_LAPACK = re.compile(r"lapack_[sdcz]([a-z0-9]+)_ffi")
_ROUTINES: dict[str, Callable[[Operation, Sequence[Array]], Sequence[Array]]] = {}
_MARKERS = frozenset(
    {
        "Sharding",
        "SPMDFullToShardShape",
        "SPMDShardToFullShape",
        "annotate_device_placement",
        "LayoutConstraint",
        "MoveToHost",
        "MoveToDevice",
        "xla.sdy.FuncResultSharding",
        "xla.sdy.ShardingGroup",
    }
)
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "mhlo.erf": lax.erf,
    "mhlo.tan": lax.tan,
    "mhlo.sinh": lax.sinh,
    "mhlo.cosh": lax.cosh,
    "mhlo.asin": lax.asin,
    "mhlo.acos": lax.acos,
    "mhlo.asinh": lax.asinh,
    "mhlo.acosh": lax.acosh,
    "mhlo.atanh": lax.atanh,
}


def routines() -> list[str]:
    """The LAPACK routines that are known, without their type letter."""
    return sorted(_ROUTINES)


def known_targets() -> list[str]:
    """The other custom calls that are known."""
    return sorted({*_MARKERS, *_FUNCTIONS, "shape_assertion", "mhlo.topk", "ApproxTopK"})


def is_known(target: str) -> bool:
    """Whether a call of this target can be evaluated."""
    match = _LAPACK.fullmatch(target)
    return (match is not None and match.group(1) in _ROUTINES) or target in known_targets()


@TABLE.op("stablehlo.custom_call")
def custom_call(frame: Frame, op: Operation, args: Sequence[Array]) -> Sequence[Array]:
    """A call by name."""
    target = op.attributes["call_target_name"]
    if not is_known(target):
        raise frame.unsupported(op, f"its target '{target}' is not known")
    match = _LAPACK.fullmatch(target)
    if match is not None:
        return _ROUTINES[match.group(1)](op, args)
    if target in _FUNCTIONS:
        return [_FUNCTIONS[target](*args)]
    if target == "mhlo.topk":
        return list(lax.top_k(args[0], op.tensor_type().shape[-1]))
    if target == "ApproxTopK":
        return _approximate_top_k(frame, op, args)
    if target == "shape_assertion":
        _check_shapes(op, args)
    if [np.shape(x) for x in args[: len(op.results)]] != [op.tensor_type(i).shape for i in range(len(op.results))]:
        raise frame.unsupported(op, f"'{target}' splits an array over devices; export for one device")
    return list(args) if op.results else []


def _approximate_top_k(frame: Frame, op: Operation, args: Sequence[Array]) -> Sequence[Array]:
    """The largest or smallest elements of a dimension, most of them; the comparator tells which end."""
    (name,) = op.attributes["called_computations"]
    body = frame.evaluator.module.functions[name].body
    made = frame.definition(body.returned[0])
    direction = made.attributes.get("comparison_direction") if made is not None else None
    if direction not in {"GT", "LT"}:
        raise frame.unsupported(op, "want a comparator that is one comparison, GT or LT")
    options = op.attributes["mhlo.backend_config"]
    function = lax.approx_max_k if direction == "GT" else lax.approx_min_k
    return function(
        args[0],
        options["top_k"],
        options["reduction_dim"],
        options["recall_target"],
        options["reduction_input_size_override"],
        options["aggregate_to_topk"],
    )


def _check_shapes(op: Operation, args: Sequence[Array]) -> None:
    """Refuse argument shapes that the exported function's constraints exclude."""
    if isinstance(args[0], np.ndarray) and not args[0]:
        sizes = [int(x) if isinstance(x, np.ndarray) else "?" for x in args[1:]]
        message = str(op.attributes.get("error_message", "the input shapes do not fit")).format(*sizes)
        raise ArgumentError(message.partition(" Using the following")[0].strip())


def _routine(*names: str) -> Callable[[Any], Any]:
    def register(function: Any) -> Any:
        for name in names:
            _ROUTINES[name] = function
        return function

    return register


def _flag(op: Operation, name: str, default: str = "") -> str:
    """A LAPACK option, which the file holds as the code of its letter."""
    value = op.attributes.get("mhlo.backend_config", {}).get(name)
    return default if value is None else chr(value)


def _succeeded(op: Operation) -> Array:
    """The status of a call that went well, for each batch entry."""
    kind = op.tensor_type(len(op.results) - 1)
    return np.zeros(kind.shape, kind.dtype)


@_routine("potrf")
def _potrf(op: Operation, args: Sequence[Array]) -> Sequence[Array]:
    (a,) = args
    if _flag(op, "uplo") == "L":
        return lax.linalg.cholesky(a, symmetrize_input=False), _succeeded(op)
    return _adjoint(lax.linalg.cholesky(_adjoint(a), symmetrize_input=False)), _succeeded(op)


def _adjoint(a: Array) -> Array:
    swapped = jnp.swapaxes(a, -1, -2)
    return lax.conj(swapped) if jnp.iscomplexobj(swapped) else swapped


@_routine("trsm")
def _trsm(op: Operation, args: Sequence[Array]) -> Sequence[Array]:
    return [
        lax.linalg.triangular_solve(
            args[0],
            args[1],
            left_side=_flag(op, "side") == "L",
            lower=_flag(op, "uplo") == "L",
            transpose_a=_flag(op, "trans_x") in {"T", "C"},
            conjugate_a=_flag(op, "trans_x") == "C",
            unit_diagonal=_flag(op, "diag") == "U",
        )
    ]


@_routine("getrf")
def _getrf(op: Operation, args: Sequence[Array]) -> Sequence[Array]:
    factors, pivots, _ = lax.linalg.lu(args[0])
    return factors, pivots + np.int32(1), _succeeded(op)


@_routine("geqrf")
def _geqrf(_op: Operation, args: Sequence[Array]) -> Sequence[Array]:
    turned, taus = jnp.linalg.qr(args[0], mode="raw")
    return turned.mT, taus


@_routine("orgqr", "ungqr")
def _orgqr(_op: Operation, args: Sequence[Array]) -> Sequence[Array]:
    return [lax.linalg.householder_product(args[0], args[1])]


@_routine("syevd", "heevd")
def _syevd(op: Operation, args: Sequence[Array]) -> Sequence[Array]:
    lower = _flag(op, "uplo", "L") == "L"
    vectors, values = lax.linalg.eigh(args[0], lower=lower, symmetrize_input=False)
    return vectors, values, _succeeded(op)


@_routine("gesdd", "gesvd")
def _gesdd(op: Operation, args: Sequence[Array]) -> Sequence[Array]:
    mode = _flag(op, "mode", "A")
    if mode == "N":
        values = lax.linalg.svd(args[0], compute_uv=False)
        zeros = [np.zeros(op.tensor_type(i).shape, op.tensor_type(i).dtype) for i in (2, 3)]
        return args[0], values, *zeros, _succeeded(op)
    u, s, vt = lax.linalg.svd(args[0], full_matrices=mode == "A")
    return args[0], s, u, vt, _succeeded(op)


@_routine("geev")
def _geev(op: Operation, args: Sequence[Array]) -> Sequence[Array]:
    """Eigenvalues come in two real arrays for real matrices, in one complex array otherwise."""
    left, right = (_flag(op, f"compute_{side}", "N") == "V" for side in ("left", "right"))
    values, *vectors = lax.linalg.eig(args[0], compute_left_eigenvectors=left, compute_right_eigenvectors=right)
    made = iter(vectors)
    pair = []
    for asked, position in ((left, len(op.results) - 3), (right, len(op.results) - 2)):
        kind = op.tensor_type(position)
        pair.append(next(made) if asked else np.zeros(kind.shape, kind.dtype))
    real_input = not jnp.iscomplexobj(args[0])
    head = (lax.real(values), lax.imag(values)) if real_input else (values,)
    return *head, *pair, _succeeded(op)


@_routine("gehrd")
def _gehrd(op: Operation, args: Sequence[Array]) -> Sequence[Array]:
    return *lax.linalg.hessenberg(args[0]), _succeeded(op)


@_routine("sytrd", "hetrd")
def _sytrd(op: Operation, args: Sequence[Array]) -> Sequence[Array]:
    return *lax.linalg.tridiagonal(args[0], lower=_flag(op, "uplo", "L") == "L"), _succeeded(op)


@_routine("gees")
def _gees(op: Operation, args: Sequence[Array]) -> Sequence[Array]:
    """Schur form; the eigenvalues that LAPACK also returns are not read by JAX and stay zero."""
    form, vectors = lax.linalg.schur(args[0])
    rest = [np.zeros(op.tensor_type(i).shape, op.tensor_type(i).dtype) for i in range(2, len(op.results))]
    return form, vectors, *rest


@_routine("gtsv")
def _gtsv(op: Operation, args: Sequence[Array]) -> Sequence[Array]:
    solved = lax.linalg.tridiagonal_solve(*args)
    return *args[:3], solved, _succeeded(op)
