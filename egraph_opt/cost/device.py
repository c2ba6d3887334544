# SPDX-License-Identifier: Apache-2.0
"""Rates of a device, as the roofline model needs them: typical defaults per kind, and a JSON form.

The CPU numbers were measured on two cores of a server with XLA:CPU and rounded (docs/decisions/cost.md); ``egraph-opt
calibrate`` measures the machine at hand.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from egraph_opt.errors import CostError

KINDS = ("cpu", "gpu", "tpu")


@dataclass(frozen=True, eq=False)
class Device:
    """What one device does per second.

    Args:
        name: for people.
        kind: "cpu", "gpu" or "tpu".
        peak_flops: matrix-product arithmetic per element type [flop/s]; float32 must be there. A complex product costs
            four real ones, so complex types fall back to the real type of half their size.
        vector_flops: elementwise arithmetic on float32 [flop/s].
        transcendentals: exponentials of float32 per second.
        bandwidth: main memory [byte/s].
        cache_bandwidth: last-level cache [byte/s].
        cache_bytes: what the cache holds [byte].
        launch_seconds: start of one kernel inside a compiled program [s].
        dispatch_seconds: call of a compiled program from Python [s].
        product_seconds: what the start of a matrix product takes beyond that of another kernel [s].
        narrow: products with a dimension of this size reach half of the peak.
        matvec_efficiency: share of the bandwidth that a matrix-vector product reaches.
        routine_efficiency: share of the peak that factorisations reach.

    Raises:
        CostError: a rate is not positive, an efficiency is above 1, or the kind is unknown.
    """

    name: str
    kind: str
    peak_flops: Mapping[str, float]
    vector_flops: float
    transcendentals: float
    bandwidth: float
    cache_bandwidth: float
    cache_bytes: float
    launch_seconds: float
    dispatch_seconds: float = 6e-6
    product_seconds: float = 5e-7
    narrow: float = 8.0
    matvec_efficiency: float = 0.9
    routine_efficiency: float = 0.06
    _rates: dict[str, float] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise CostError(f"device {self.name!r}: kind is {self.kind!r}; want one of {', '.join(KINDS)}")
        if "float32" not in self.peak_flops:
            raise CostError(f"device {self.name!r}: peak_flops has no rate for float32")
        values = {f"peak_flops[{name}]": rate for name, rate in self.peak_flops.items()}
        values |= {f.name: getattr(self, f.name) for f in fields(self) if f.type == "float"}
        for name, value in values.items():
            if not value > 0:
                raise CostError(f"device {self.name!r}: {name} is {value}; want a number above 0")
        for name in ("matvec_efficiency", "routine_efficiency"):
            if values[name] > 1:
                raise CostError(f"device {self.name!r}: {name} is {values[name]}; want at most 1")

    def product_rate(self, dtype: str) -> float:
        """Peak rate of matrix products of an element type [flop/s]."""
        rate = self._rates.get(dtype)
        if rate is None:
            rate = self._rates[dtype] = self._product_rate(dtype)
        return rate

    def _product_rate(self, dtype: str) -> float:
        real = {"complex64": "float32", "complex128": "float64"}.get(dtype, dtype)
        if real in self.peak_flops:
            return self.peak_flops[real]
        single = self.peak_flops["float32"]
        if real == "float64":
            return single / 2
        # Integer products run without a tuned kernel on CPUs and most GPUs.
        return single if real.startswith(("float", "bfloat")) else single / 50

    def vector_rate(self, itemsize: float) -> float:
        """Rate of elementwise arithmetic on elements of a size [flop/s]."""
        return self.vector_flops * min(1.0, 4.0 / max(itemsize, 1.0))

    def bandwidth_for(self, nbytes: float) -> float:
        """Bandwidth at which so many bytes move [byte/s]: the cache's as long as they fit into it."""
        if nbytes <= self.cache_bytes:
            return self.cache_bandwidth
        spill = min(1.0, nbytes / self.cache_bytes - 1.0)
        return 1.0 / ((1.0 - spill) / self.cache_bandwidth + spill / self.bandwidth)

    def to_json(self) -> str:
        """Text that ``from_json`` reads."""
        values = {name: value for name, value in asdict(self).items() if not name.startswith("_")}
        return json.dumps(values, indent=2) + "\n"

    @staticmethod
    def from_json(text: str) -> Device:
        """Read a device description.

        Raises:
            CostError: the text is not JSON of that form, or a rate is not positive.
        """
        try:
            values: Any = json.loads(text)
            return Device(**values)
        except (TypeError, json.JSONDecodeError) as error:
            raise CostError(f"device JSON: {error}; want the keys that `egraph-opt calibrate` writes") from error

    @staticmethod
    def load(path: str | Path) -> Device:
        """Read a device description from a file.

        Raises:
            CostError: the file cannot be read or is malformed; the message starts with the path.
        """
        try:
            return Device.from_json(Path(path).read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise CostError(f"{path}: there is no such file; `egraph-opt calibrate -o {path}` writes one") from error
        except OSError as error:
            raise CostError(f"{path}: cannot be read: {error.strerror}") from error
        except (UnicodeDecodeError, CostError) as error:
            raise CostError(f"{path}: {error}") from error

    @staticmethod
    def default(platform: str = "cpu") -> Device:
        """Typical numbers for a platform name of JAX ("cpu", "gpu", "cuda", "rocm", "tpu"); others count as CPU."""
        kind = {"cuda": "gpu", "rocm": "gpu"}.get(platform, platform)
        return _DEFAULTS.get(kind, _DEFAULTS["cpu"])


_DEFAULTS = {
    "cpu": Device(
        name="typical CPU, a few cores",
        kind="cpu",
        peak_flops={"float32": 1.6e11, "float64": 6e10, "bfloat16": 7e10, "float16": 9e10},
        vector_flops=3e10,
        transcendentals=4e9,
        bandwidth=2.5e10,
        cache_bandwidth=1e11,
        cache_bytes=1.6e7,
        launch_seconds=3e-7,
    ),
    "gpu": Device(
        name="typical data-centre GPU",
        kind="gpu",
        peak_flops={"float32": 4e13, "float64": 2e13, "bfloat16": 4e14, "float16": 4e14},
        vector_flops=2e13,
        transcendentals=4e12,
        bandwidth=2.5e12,
        cache_bandwidth=5e12,
        cache_bytes=4e7,
        launch_seconds=2.5e-6,
        dispatch_seconds=2e-5,
        product_seconds=1e-9,
        narrow=64.0,
        matvec_efficiency=0.8,
        routine_efficiency=0.02,
    ),
    "tpu": Device(
        name="typical TPU core",
        kind="tpu",
        peak_flops={"float32": 5e13, "float64": 1e12, "bfloat16": 2e14, "float16": 5e13},
        vector_flops=4e12,
        transcendentals=1e12,
        bandwidth=1.2e12,
        cache_bandwidth=1e13,
        cache_bytes=1e8,
        launch_seconds=1.5e-6,
        dispatch_seconds=5e-5,
        product_seconds=1e-9,
        narrow=128.0,
        matvec_efficiency=0.7,
        routine_efficiency=0.005,
    ),
}
