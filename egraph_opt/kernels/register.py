# SPDX-License-Identifier: Apache-2.0
"""``register_kernel``: a user's kernel beside the shipped ones, tested against its pattern before it counts.

A lowering that gives other values or other derivatives than its pattern, at shapes and element types that its
condition admits, is refused with one line that says where they differ.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from egraph_opt._compat import outside_of_traces, x64_enabled
from egraph_opt.errors import EgraphOptError, KernelError
from egraph_opt.ir import TensorType
from egraph_opt.kernels import record
from egraph_opt.kernels.record import SPREAD, Kernel, frozen
from egraph_opt.kernels.shipped import SHIPPED
from egraph_opt.ops.kernel import Lowering, differentiated

LEADING = ((), (2,), (2, 3))
"""Leading dimensions with which a kernel is tested."""

SIZES = (4, 128, 5, 64, 16, 8, 1)
"""Sizes that names are tried with; the first three sets that the condition admits are tested."""

PRIMES = (11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53)
"""Sizes that are all different, to read off which is which."""

TESTED = 3
TOLERANCE = {"float64": 1e-9, "float32": 2e-4, "bfloat16": 6e-2, "float16": 2e-2}
DTYPES = ("float64", "float32", "bfloat16", "float16")
_NAME = re.compile(r"[a-z]\w*")


def register_kernel(
    name: str,
    pattern: Callable[..., Any],
    lowering: Callable[..., Any],
    *,
    shapes: Any,
    cost: Callable[..., float] | None = None,
    when: Callable[..., bool] | None = None,
    vjp: Callable[..., Any] | None = None,
    devices: str | Sequence[str] = (),
    memory: Callable[..., float] | None = None,
    doc: str = "",
) -> None:
    """Let programs that hold ``pattern``, however they spell it, run ``lowering`` where that is cheaper.

    The kernel is tested first: values and gradients of the lowering against those of the pattern, at several shapes
    that ``when`` admits, in float64 where it admits that. Registering a name again replaces the kernel; programs that
    are planned already keep what they have. In planned programs whose kernel is gone, the pattern runs.

    Args:
        name: snake_case; not that of a shipped kernel.
        pattern: what it computes, a JAX function of arrays with one array as its result.
        lowering: the same by other means: Pallas, a custom call, any JAX.
        shapes: sizes of each argument as names, in order or by name of parameter: ``["... n", "n"]``. Equal names are
            equal sizes, ``...`` is any number of leading dimensions.
        cost: ``cost(*types) -> seconds`` of the lowering, of objects with ``shape`` and ``dtype``; by default what the
            pattern costs when nothing is stored between its operands and its result. The program is timed anyway.
        when: ``when(*types) -> bool``: for which operands it may be chosen.
        vjp: ``vjp(arrays, cotangent) -> cotangents``, one for each array. By default JAX differentiates the pattern.
        devices: platforms that it runs on ("cpu", "gpu", "tpu"); all by default.
        memory: ``memory(*types) -> bytes`` that it holds beside operands and result; used by ``objective="memory"``.
        doc: what it computes, in one line.

    Raises:
        KernelError: it is wrong, cannot be differentiated, or does not fit its shapes.
    """
    words = _words(name, pattern, shapes)
    platforms = (devices,) if isinstance(devices, str) else tuple(devices)
    if not callable(lowering):
        raise KernelError(f"kernel {name!r}: lowering is a {type(lowering).__name__}; want a function of arrays")
    way = Lowering(
        name="registered",
        function=lowering,
        devices=platforms,
        when=None if when is None else functools.partial(_asked, name, when),
        seconds=None if cost is None else functools.partial(_told, name, cost),
        temporary_bytes=None if memory is None else lambda types, static: float(memory(*_structs(types))),
        vjp=vjp,
    )
    with outside_of_traces():
        result = _result(name, pattern, words)
        kernel = Kernel(
            name=name,
            pattern=pattern,
            shapes=words,
            result=result,
            lowerings=(way,),
            doc=doc or (inspect.getdoc(pattern) or "").partition("\n")[0],
            user=True,
        )
        if not platforms or jax.default_backend() in platforms:
            check(kernel, way)
    record.add(kernel)


def unregister_kernel(name: str) -> None:
    """Forget a registered kernel: it is no longer looked for, and programs that hold it run its pattern.

    Raises:
        KernelError: no kernel of this name was registered.
    """
    kernel = record.all_kernels().get(name)
    if kernel is None or not kernel.user:
        names = ", ".join(k.name for k in record.all_kernels().values() if k.user) or "none"
        raise KernelError(f"unregister_kernel: {name!r} is not registered; registered: {names}")
    record.remove(name)


def check(kernel: Kernel, way: Lowering, static: Mapping[str, Any] | None = None) -> int:
    """Compare a lowering with its pattern.

    Returns:
        How many sets of operands were compared.

    Raises:
        KernelError: they differ, or one of them fails.
    """
    keywords = dict(frozen(static or kernel.samples[0]))
    compared: dict[str, int] = {}
    for dtype, types in _admitted(kernel, way, keywords):
        widest = not compared or dtype == next(iter(compared))
        if compared.get(dtype, 0) < (TESTED if widest else dtype == "float32"):
            _compare(kernel, way, types, keywords)
            compared[dtype] = compared.get(dtype, 0) + 1
    if not compared:
        raise KernelError(
            f"kernel {kernel.name!r}: its condition admits none of the shapes tried"
            f" (sizes {', '.join(map(str, SIZES))}; {', '.join(DTYPES)}); make it true for some of them"
        )
    return sum(compared.values())


def _admitted(kernel: Kernel, way: Lowering, static: Mapping[str, Any]) -> Iterator[tuple[str, list[TensorType]]]:
    """Element types and argument types that the lowering takes: sizes and leading dimensions that differ come first."""
    names = sorted({w for shape in kernel.shapes for w in shape.split() if w != SPREAD})
    spread = any(SPREAD in shape.split() for shape in kernel.shapes)
    platform = jax.default_backend()
    count = len(SIZES)
    choices = [{w: SIZES[(i + k) % count] for i, w in enumerate(names)} for k in range(count)]
    choices += [dict.fromkeys(names, size) for size in SIZES]
    leads = LEADING if spread else LEADING[:1]
    rows = [(sizes, leads[(i + k) % len(leads)]) for i in range(len(leads)) for k, sizes in enumerate(choices)]
    for dtype, (sizes, leading) in itertools.product(DTYPES, rows):
        types = [
            TensorType(tuple(n for w in shape.split() for n in (leading if w == SPREAD else (sizes[w],))), dtype)
            for shape in kernel.shapes
        ]
        if way.fits(platform, types, static):
            yield dtype, types


def _compare(kernel: Kernel, way: Lowering, types: Sequence[TensorType], static: Mapping[str, Any]) -> None:
    shown = ", ".join(map(str, types))
    random = np.random.default_rng(0)
    tolerance = max(TOLERANCE[t.dtype] for t in types)
    places = tuple(range(len(types)))
    with x64_enabled():
        arrays = [jnp.asarray(random.standard_normal(t.shape), t.dtype) for t in types]
        pattern = functools.partial(kernel.pattern, **static)
        lowered = differentiated(way, pattern, static)
        made = [_traced(kernel, what, shown, f, arrays) for what, f in (("pattern", pattern), ("lowering", lowered))]
        _same_type(kernel, shown, made[1], made[0])
        weights = jnp.asarray(random.standard_normal(made[0].shape), made[0].dtype)

        def gradient(function: Callable[..., Any]) -> Callable[..., Any]:
            return jax.grad(lambda *xs: (function(*xs) * weights).astype("float64").sum(), places)

        for what, function in (("pattern", pattern), ("lowering", lowered)):
            _traced(kernel, f"gradient of the {what}", shown, gradient(function), arrays)

        def both(*xs: Any) -> Any:
            return [(f(*xs), gradient(f)(*xs)) for f in (lowered, pattern)]

        try:
            found, wanted = jax.block_until_ready(jax.jit(both)(*arrays))
        except Exception as error:  # what a user's function raises may be anything
            raise KernelError(f"kernel {kernel.name!r}: it fails for ({shown}): {_first_line(error)}") from error
        _judge(kernel, shown, "values", found[0], wanted[0], tolerance)
        for place in places:
            pair = found[1][place], wanted[1][place]
            _judge(kernel, shown, f"gradients by argument {place}", *pair, 10 * tolerance)


def _traced(kernel: Kernel, what: str, shown: str, function: Callable[..., Any], arrays: Sequence[Any]) -> Any:
    try:
        return jax.eval_shape(function, *arrays)
    except Exception as error:  # what a user's function raises may be anything
        raise KernelError(f"kernel {kernel.name!r}: the {what} fails for ({shown}): {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _same_type(kernel: Kernel, shown: str, found: Any, wanted: Any) -> None:
    if getattr(found, "shape", None) != wanted.shape or found.dtype != wanted.dtype:
        got = f"{found.dtype}{list(found.shape)}" if hasattr(found, "shape") else f"a {type(found).__name__}"
        raise KernelError(
            f"kernel {kernel.name!r}: the lowering gives {got} for ({shown}); the pattern gives"
            f" {wanted.dtype}{list(wanted.shape)}"
        )


def _judge(kernel: Kernel, shown: str, what: str, found: Any, wanted: Any, tolerance: float) -> None:
    a, b = (np.asarray(x, np.float64) for x in (found, wanted))
    scale = float(np.max(np.abs(b[np.isfinite(b)]), initial=0.0)) or 1.0
    same = np.isclose(a, b, rtol=tolerance, atol=tolerance * scale, equal_nan=True)
    if not same.all():
        place = tuple(int(i) for i in np.argwhere(~same)[0])
        raise KernelError(
            f"kernel {kernel.name!r}: {what} for ({shown}) differ from the pattern's at {list(place)}:"
            f" {a[place]:.6g}, want {b[place]:.6g}"
        )


def _words(name: str, pattern: Callable[..., Any], shapes: Any) -> tuple[str, ...]:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise KernelError(f"kernel {name!r}: want a name of lower-case letters, digits and underscores")
    if name in {kernel.name for kernel in SHIPPED}:
        raise KernelError(f"kernel {name!r}: a shipped kernel has this name; take another")
    if not callable(pattern):
        raise KernelError(f"kernel {name!r}: pattern is a {type(pattern).__name__}; want a JAX function of arrays")
    parameters = [
        p.name
        for p in inspect.signature(pattern).parameters.values()
        if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p.default is p.empty
    ]
    if isinstance(shapes, Mapping):
        missing = [p for p in parameters if p not in shapes]
        if missing or len(shapes) != len(parameters):
            raise KernelError(f"kernel {name!r}: shapes name {', '.join(shapes)}; want {', '.join(parameters)}")
        shapes = [shapes[p] for p in parameters]
    if isinstance(shapes, str):
        shapes = [shapes] * len(parameters)
    words = tuple(shapes)
    if len(words) != len(parameters) or not words:
        raise KernelError(f"kernel {name!r}: {len(words)} shapes for {len(parameters)} arguments of the pattern")
    for text in words:
        bad = not isinstance(text, str) or any(w != SPREAD and not _NAME.fullmatch(w) for w in text.split())
        if bad or SPREAD in text.split()[1:]:
            raise KernelError(f"kernel {name!r}: shape {text!r}; want names of sizes as in 'n k', or '... n k'")
    return words


def _result(name: str, pattern: Callable[..., Any], words: Sequence[str]) -> str:
    """Shape of the result in names of sizes, read off at sizes that are all different."""
    names = list(dict.fromkeys(w for shape in words for w in shape.split() if w != SPREAD))
    primes = dict(zip(names, PRIMES, strict=False))
    leading = (2, 3)
    structs = [
        jax.ShapeDtypeStruct(
            tuple(n for w in shape.split() for n in (leading if w == SPREAD else (primes[w],))), np.float32
        )
        for shape in words
    ]
    try:
        made = jax.eval_shape(pattern, *structs)
    except Exception as error:  # what a user's function raises may be anything
        raise KernelError(
            f"kernel {name!r}: the pattern fails for shapes {', '.join(words)}: {_first_line(error)}"
        ) from error
    if not hasattr(made, "shape"):
        raise KernelError(f"kernel {name!r}: the pattern returns a {type(made).__name__}; want one array")
    of_size = {size: word for word, size in primes.items()}
    rest = tuple(made.shape)
    spread = rest[:2] == leading
    text = [of_size.get(n) for n in (rest[2:] if spread else rest)]
    if None in text:
        given = ", ".join(str(list(s.shape)) for s in structs)
        raise KernelError(
            f"kernel {name!r}: the result has shape {list(rest)} for arguments {given}; want dimensions that they have"
        )
    return " ".join([*([SPREAD] if spread else []), *filter(None, text)])


def _structs(types: Sequence[TensorType]) -> list[jax.ShapeDtypeStruct]:
    return [jax.ShapeDtypeStruct(t.shape, np.dtype(t.dtype)) for t in types]


def _asked(name: str, when: Callable[..., bool], types: Sequence[TensorType], static: Any) -> bool:
    del static
    try:
        return bool(when(*_structs(types)))
    except EgraphOptError:
        raise
    except Exception as error:  # what a user's function raises may be anything
        raise KernelError(f"kernel {name!r}: its condition fails: {type(error).__name__}: {error}") from error


def _told(name: str, cost: Callable[..., float], types: Sequence[TensorType], static: Any, device: Any) -> float:
    del static, device
    try:
        seconds = float(cost(*_structs(types)))
    except Exception as error:  # what a user's function raises may be anything
        raise KernelError(f"kernel {name!r}: its cost fails: {type(error).__name__}: {error}") from error
    if not (math.isfinite(seconds) and seconds >= 0):
        raise KernelError(f"kernel {name!r}: its cost is {seconds}; want seconds, a number >= 0")
    return seconds
