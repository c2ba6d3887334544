# SPDX-License-Identifier: Apache-2.0
"""Random shapes and attributes of operations that move, reduce or scan along axes: one chooser each.

A chooser takes the operands that are fixed, the shape asked of the result and the attributes that are fixed (each may
be None) and proposes attributes and operand shapes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from jax.lax import FftType, GatherScatterMode

from egraph_opt.ir import TensorType
from egraph_opt.ir.attrs import NAN, DType
from egraph_opt.rules.check.profile import COMPLEX, FLOATS, MisfitError, Profile

Shape = tuple[int, ...]
Attrs = dict[str, Any]
Known = Sequence[TensorType | None]

_FILL = GatherScatterMode.FILL_OR_DROP


class Proposal(NamedTuple):
    """Attributes and the shape of each operand."""

    attrs: Attrs
    shapes: list[Shape]


def _largest(attrs: Mapping[str, Any], names: Sequence[str]) -> int:
    """The largest axis that attributes speak of."""
    axes: list[int] = []
    for name in names:
        value = attrs[name]
        axes += list(value) if isinstance(value, tuple) else [value]
    return max(axes, default=-1)


def _reduce(profile: Profile, known: Known, want: Shape | None, attrs: Attrs | None) -> Proposal:
    if known[0] is not None:
        shape = known[0].shape
    elif attrs is not None:
        axes = attrs["axes"]
        shape = profile.shape(least=_largest(attrs, ["axes"]) + 1)
        if want is not None:
            rest = iter(want)
            shape = tuple(profile.size() if i in axes else next(rest, 1) for i in range(len(want) + len(axes)))
    elif want is not None:
        dims = [(size, False) for size in want]
        for _ in range(profile.rng.choice((1, 1, 2))):
            dims.insert(profile.rng.randrange(len(dims) + 1), (profile.size(), True))
        shape = tuple(size for size, _ in dims)
        return Proposal({"axes": tuple(i for i, (_, gone) in enumerate(dims) if gone)}, [shape])
    else:
        shape = profile.shape(least=1)
    if attrs is None:
        count = profile.rng.choice((1, 1, 1, 2, len(shape)))
        attrs = {"axes": tuple(sorted(profile.rng.sample(range(len(shape)), min(count, len(shape)))))}
    return Proposal(attrs, [shape])


def _arg(profile: Profile, known: Known, want: Shape | None, attrs: Attrs | None) -> Proposal:
    if attrs is not None:
        return Proposal(attrs, _reduce(profile, known, want, {"axes": attrs["axes"]}).shapes)
    found = _reduce(profile, known, want, None)
    if len(found.attrs["axes"]) != 1:
        raise MisfitError("an index is along one axis")
    return Proposal({**found.attrs, "index_dtype": DType("int32")}, found.shapes)


def _one_axis(name: str, **rest: Sequence[Any]) -> Callable[..., Proposal]:
    def choose(profile: Profile, known: Known, want: Shape | None, attrs: Attrs | None) -> Proposal:
        shape = known[0].shape if known[0] else want
        if shape is None:
            shape = profile.shape(least=1 if attrs is None else _largest(attrs, [name]) + 1)
        if not shape:
            raise MisfitError("a scalar has no axis")
        if attrs is None:
            attrs = {name: profile.rng.randrange(len(shape))}
            attrs |= {key: profile.rng.choice(values) for key, values in rest.items()}
        return Proposal(attrs, [shape])

    return choose


def _rev(profile: Profile, known: Known, want: Shape | None, attrs: Attrs | None) -> Proposal:
    shape = known[0].shape if known[0] else want
    if shape is None:
        shape = profile.shape(least=1 if attrs is None else _largest(attrs, ["dimensions"]) + 1)
    if attrs is None:
        count = profile.rng.randint(min(1, len(shape)), len(shape))
        attrs = {"dimensions": tuple(sorted(profile.rng.sample(range(len(shape)), count)))}
    return Proposal(attrs, [shape])


def _slice(profile: Profile, known: Known, want: Shape | None, attrs: Attrs | None) -> Proposal:
    rng = profile.rng
    if attrs is not None:
        limits = attrs["limit_indices"]
        return Proposal(attrs, [known[0].shape if known[0] else tuple(n + rng.choice((0, 0, 1, 2)) for n in limits)])
    if known[0] is not None or want is None:
        shape = known[0].shape if known[0] else profile.shape(least=1)
        starts = tuple(rng.randint(0, n) if profile.chance(0.5) else 0 for n in shape)
        limits = tuple(rng.randint(s, n) if profile.chance(0.5) else n for s, n in zip(starts, shape, strict=True))
        strides = tuple(rng.choice((1, 1, 2)) for _ in shape) if profile.chance(0.3) else None
    else:
        starts = tuple(rng.choice((0, 0, 1, 2)) for _ in want)
        strides = tuple(rng.choice((1, 1, 2)) for _ in want) if profile.chance(0.3) else None
        steps = strides or (1,) * len(want)
        limits = tuple(s + (n - 1) * k + 1 if n else s for s, n, k in zip(starts, want, steps, strict=True))
        shape = tuple(n + rng.choice((0, 0, 1, 2)) for n in limits)
    return Proposal({"start_indices": starts, "limit_indices": limits, "strides": strides}, [shape])


def _pad(profile: Profile, known: Known, want: Shape | None, attrs: Attrs | None) -> Proposal:
    rng = profile.rng
    if attrs is not None or known[0] is not None or want is None:
        least = len(attrs["padding_config"]) if attrs else 1
        shape = known[0].shape if known[0] else tuple(profile.size() for _ in range(least or 0))
        config = tuple((rng.choice((0, 0, 1, 2)), rng.choice((0, 0, 1, -1)), rng.choice((0, 0, 0, 1))) for _ in shape)
        return Proposal(attrs or {"padding_config": config}, [shape, ()])
    config = tuple((rng.choice((0, 0, 1)), rng.choice((0, 0, 1)), 0) for _ in want)
    shape = tuple(n - low - high for n, (low, high, _) in zip(want, config, strict=True))
    if any(n < 0 for n in shape):
        raise MisfitError("more padding than elements")
    return Proposal({"padding_config": config}, [shape, ()])


def _concatenate(profile: Profile, known: Known, want: Shape | None, attrs: Attrs | None) -> Proposal:
    base = next((t.shape for t in known if t is not None), want)
    if base is None:
        base = profile.shape(least=1 if attrs is None else attrs["dimension"] + 1)
    if not base:
        raise MisfitError("scalars cannot be concatenated")
    axis = attrs["dimension"] if attrs else profile.rng.randrange(len(base))
    if axis >= len(base):
        raise MisfitError("no such dimension")
    sizes = [t.shape[axis] if t is not None and axis < t.rank else None for t in known]
    if want is not None and axis < len(want):
        left = want[axis] - sum(n for n in sizes if n is not None)
        free = [i for i, n in enumerate(sizes) if n is None]
        for i in free[:-1]:
            sizes[i] = profile.rng.randint(0, max(left, 0))
            left -= sizes[i] or 0
        if free:
            sizes[free[-1]] = left
    filled = [profile.size() if n is None else n for n in sizes]
    if any(n < 0 for n in filled):
        raise MisfitError("the parts are longer than the whole")
    return Proposal({"dimension": axis}, [(*base[:axis], n, *base[axis + 1 :]) for n in filled])


def _stack(profile: Profile, known: Known, want: Shape | None, attrs: Attrs | None) -> Proposal:
    shape = next((t.shape for t in known if t is not None), None)
    if shape is None and want is not None:
        axis = attrs["axis"] if attrs else profile.rng.choice([i for i, n in enumerate(want) if n == len(known)] or [0])
        return Proposal({"axis": axis}, [(*want[:axis], *want[axis + 1 :])] * len(known))
    if shape is None:
        shape = profile.shape(least=attrs["axis"] if attrs else 0)
    return Proposal(attrs or {"axis": profile.rng.randint(0, len(shape))}, [shape] * len(known))


def _tile(profile: Profile, known: Known, want: Shape | None, attrs: Attrs | None) -> Proposal:
    if known[0] is None and attrs is None and want is not None:
        reps = tuple(profile.rng.choice([d for d in (1, 2, 3) if n % d == 0]) for n in want)
        return Proposal({"reps": reps}, [tuple(n // d for n, d in zip(want, reps, strict=True))])
    rank = len(attrs["reps"]) if attrs else None
    shape = known[0].shape if known[0] else tuple(profile.size() for _ in range(rank if rank is not None else 2))
    return Proposal(attrs or {"reps": tuple(profile.rng.choice((1, 2, 1, 3)) for _ in shape)}, [shape])


def _read_along(make: Callable[[Profile, int], Attrs], size_of: str) -> Callable[..., Proposal]:
    """A read along one axis at places that are computed: a dynamic slice, or a take."""

    def choose(profile: Profile, known: Known, want: Shape | None, attrs: Attrs | None) -> Proposal:
        result = known[0].shape if known[0] else want
        if result is None:
            result = profile.shape(least=1 if attrs is None else attrs["axis"] + 1)
        if not result:
            raise MisfitError("a scalar has no axis")
        axis = attrs["axis"] if attrs else profile.rng.randrange(len(result))
        if axis >= len(result):
            raise MisfitError("no such axis")
        count = attrs[size_of] if attrs and size_of else profile.size()
        shape = result
        if known[0] is None and want is not None:
            count = want[axis]
            shape = (*want[:axis], count + profile.rng.choice((0, 1, 2)), *want[axis + 1 :])
        places = known[1].shape if known[1] else () if size_of else (count,)
        return Proposal(attrs or {**make(profile, min(count, shape[axis])), "axis": axis}, [shape, places])

    return choose


def _take_mode(profile: Profile, count: int) -> Attrs:
    mode = profile.rng.choice((GatherScatterMode.CLIP, GatherScatterMode.PROMISE_IN_BOUNDS, _FILL))
    return {"axis": 0, "mode": mode, "fill_value": filling(profile) if mode is _FILL else None}


def filling(profile: Profile) -> Any:
    """What stands for places beyond the end: NaN as a rule, as captured programs say it."""
    return profile.rng.choice((NAN, NAN, 0, 1) if profile.main in (*FLOATS, *COMPLEX) else (0, 1, None))


def _fft(profile: Profile, known: Known, want: Shape | None, attrs: Attrs | None) -> Proposal:
    shape = known[0].shape if known[0] else want
    if attrs is not None:
        lengths = tuple(attrs["fft_lengths"])
        rank = len(shape) if shape is not None else len(lengths) + profile.rng.choice((0, 1))
        if known[0] is None:
            before = want[: rank - len(lengths)] if want is not None else None
            batch = before or tuple(profile.size() for _ in range(rank - len(lengths)))
            halved = attrs["fft_type"] is FftType.IRFFT
            shape = (*batch, *lengths[:-1], lengths[-1] // 2 + 1 if halved else lengths[-1])
        return Proposal(attrs, [shape or ()])
    if shape is None:
        shape = profile.shape(least=1)
    if not shape:
        raise MisfitError("a scalar has no transform")
    if known[0] is not None:
        kind = FftType.RFFT if known[0].dtype in FLOATS else profile.rng.choice((FftType.FFT, FftType.IFFT))
    else:
        kind = FftType.RFFT if profile.main in FLOATS else profile.rng.choice((FftType.FFT, FftType.IFFT))
    return Proposal({"fft_type": kind, "fft_lengths": shape[-profile.rng.choice((1, 1, 2)) :]}, [shape])


CHOOSERS: dict[str, Callable[..., Proposal]] = {
    **dict.fromkeys(("reduce_max", "reduce_min", "reduce_prod", "reduce_and", "reduce_or", "reduce_xor"), _reduce),
    **dict.fromkeys(("argmax", "argmin"), _arg),
    **dict.fromkeys(
        ("cumsum", "cumprod", "cummax", "cummin", "cumlogsumexp"), _one_axis("axis", reverse=(False, True))
    ),
    "sort": _one_axis("dimension", is_stable=(True, False), num_keys=(1,)),
    "dynamic_slice_in_dim": _read_along(lambda profile, count: {"slice_size": count}, "slice_size"),
    "fft": _fft,
    "take": _read_along(_take_mode, ""),
    "rev": _rev,
    "slice": _slice,
    "pad": _pad,
    "concatenate": _concatenate,
    "stack": _stack,
    "tile": _tile,
}
