# SPDX-License-Identifier: Apache-2.0
"""A StableHLO program as a loaded model: arguments are checked, dynamic shapes refined, calls traced or jitted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.export
import jax.numpy as jnp
import numpy as np

from egraph_opt.errors import ArgumentError, ModelError, UnsupportedOpError
from egraph_opt.frontends.examples import KEY_KINDS
from egraph_opt.frontends.model import LoadedModel, vjp_order
from egraph_opt.frontends.stablehlo.evaluate import Evaluator
from egraph_opt.frontends.stablehlo.module import Module, OtherType, TensorType, ValueType
from egraph_opt.frontends.stablehlo.parse import parse_module, specialise
from egraph_opt.frontends.stablehlo.rules import RULES, check_known


class StableHLOModel(LoadedModel):
    """A StableHLO program as a JAX function.

    A call takes and returns the same pytrees as the exported function, or flat arrays for a bare module.
    """

    def __init__(
        self,
        source: bytes,
        path: Path,
        *,
        exported: jax.export.Exported | None = None,
    ) -> None:
        self.path = path
        self.exported = exported
        self._origin = str(path)
        module = parse_module(source, self._origin)
        check_known(module, self._origin)
        _check_arguments(module, self._origin)
        self._module = module
        self._is_static = module.is_static
        self._source = b"" if self._is_static else source
        self.is_wide = any(_is_wide(kind) for op in module.walk() for kind in op.result_types)
        self._kept = _kept_arguments(module, exported)
        self._platform_arguments = module.platform_arguments
        self._evaluators: dict[tuple[tuple[int, ...], ...], Evaluator] = {}
        if exported is None:
            self._describe_module(module)
        else:
            self._describe_exported(exported)
        if all(_is_concrete(aval.shape) for aval in self.in_avals):
            with self.precision():
                self._evaluator([aval.shape for aval in self.in_avals])
        self.__name__ = self.name  # JAX names what it compiles and exports after it
        self._jitted = jax.jit(self._trace)

    def _describe_exported(self, exported: jax.export.Exported) -> None:
        self.name = exported.fun_name
        self.in_tree, self.out_tree = exported.in_tree, exported.out_tree
        self.in_avals = [jax.ShapeDtypeStruct(aval.shape, aval.dtype) for aval in exported.in_avals]
        self.out_avals = [jax.ShapeDtypeStruct(aval.shape, aval.dtype) for aval in exported.out_avals]

    def _describe_module(self, module: Module) -> None:
        main = module.main
        self.name = module.name or self.path.stem
        types = [kind for i, kind in enumerate(main.body.argument_types) if i not in self._platform_arguments]
        self.in_tree = jax.tree.structure(((0,) * len(types), {}))
        results = (0,) * len(main.result_types)
        self.out_tree = jax.tree.structure(results if len(results) != 1 else 0)
        scope = jax.export.SymbolicScope()
        self.in_avals = [_struct(kind, f"a{i}", scope) for i, kind in enumerate(types)]
        self.out_avals = [_struct(kind, f"r{i}", scope) for i, kind in enumerate(main.result_types)]

    @property
    def constants(self) -> Mapping[str, np.ndarray]:
        """The large constants of the file, by name: weights that are baked in, and thereby frozen."""
        return self._module.constants

    @property
    def calling_convention(self) -> dict[str, Any]:
        """What a file saved in the same convention needs: platforms and the checks that are off."""
        if self.exported is None:
            return {}
        return {
            "platforms": self.exported.platforms,
            "disabled_checks": self.exported.disabled_safety_checks,
            "version": self.exported.calling_convention_version,
            "vjp_order": vjp_order(self.exported),
        }

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the model, or trace it when an argument is being traced."""
        leaves = jax.tree.leaves((args, kwargs))
        if any(isinstance(leaf, jax.core.Tracer) for leaf in leaves):
            return self._trace(*args, **kwargs)
        with self.precision():
            return self._jitted(*args, **kwargs)

    def _trace(self, *args: Any, **kwargs: Any) -> Any:
        leaves, tree = jax.tree.flatten((args, kwargs))
        if tree != self.in_tree:
            raise ArgumentError(f"{self.name}: want arguments of the structure {self.in_tree}, got {tree}")
        with self.precision():
            flat = [self._argument(i, leaf) for i, leaf in enumerate(leaves)]
            evaluator = self._evaluator([np.shape(leaf) for leaf in flat])
            results = evaluator.main(self._main_arguments(flat))
            out = [self._result(x, aval) for x, aval in zip(results, self.out_avals, strict=True)]
        return jax.tree.unflatten(self.out_tree, out)

    def _argument(self, position: int, leaf: Any) -> Any:
        aval = self.in_avals[position]
        is_key = jnp.issubdtype(aval.dtype, jax.dtypes.prng_key)
        is_number = isinstance(leaf, (bool, int, float, complex)) and not is_key
        array = jnp.asarray(leaf, aval.dtype) if is_number else jnp.asarray(leaf)
        fits = len(array.shape) == len(aval.shape) and all(
            have == want or not isinstance(want, int) for have, want in zip(array.shape, aval.shape, strict=True)
        )
        if not fits or array.dtype != aval.dtype:
            got = f"{array.dtype.name}{list(array.shape)}"
            want = f"{aval.dtype.name}[{', '.join(map(str, aval.shape))}]"
            raise ArgumentError(f"{self.name}: argument leaf {position}: want {want}, got {got}")
        return jax.random.key_data(array) if is_key else array

    def _result(self, value: Any, aval: Any) -> Any:
        array = jnp.asarray(value)
        if jnp.issubdtype(aval.dtype, jax.dtypes.prng_key):
            return jax.random.wrap_key_data(array, impl=KEY_KINDS[str(aval.dtype)])
        return array

    def _main_arguments(self, flat: Sequence[Any]) -> list[Any]:
        kept = iter([flat[i] for i in self._kept])
        count = len(self._module.main.body.arguments)
        return [np.int32(0) if i in self._platform_arguments else next(kept) for i in range(count)]

    def _evaluator(self, shapes: Sequence[tuple[int, ...]]) -> Evaluator:
        """The evaluator for these argument shapes; a module with dynamic shapes is refined once for each."""
        key = tuple(shapes)
        if key not in self._evaluators:
            module = self._module
            if not self._is_static:
                module = self._refined(shapes)
            self._evaluators[key] = Evaluator(module, RULES, self._origin, folds=bool(self._platform_arguments))
        return self._evaluators[key]

    def _refined(self, shapes: Sequence[tuple[int, ...]]) -> Module:
        self._check_constraints(shapes)
        kept = iter([shapes[i] for i in self._kept])
        types = []
        for i, kind in enumerate(self._module.main.body.argument_types):
            assert isinstance(kind, TensorType), "checked when loaded"
            types.append(kind if i in self._platform_arguments else TensorType(next(kept), kind.dtype))
        module = specialise(self._source, types, self._origin)
        check_known(module, self._origin)
        if not module.is_static:
            shapes_text = ", ".join(map(str, types))
            raise ModelError(
                f"{self._origin}: shapes inside the model stay unknown for arguments {shapes_text}; "
                "want shapes that follow from the arguments' shapes"
            )
        return module

    def _check_constraints(self, shapes: Sequence[tuple[int, ...]]) -> None:
        """Let JAX say in which way shapes break the constraints of an export."""
        if self.exported is None:
            return
        structs = [jax.ShapeDtypeStruct(s, aval.dtype) for s, aval in zip(shapes, self.in_avals, strict=True)]
        args, kwargs = jax.tree.unflatten(self.in_tree, structs)
        try:
            jax.eval_shape(self.exported.call, *args, **kwargs)
        except ValueError as error:
            reason = str(error).partition(" Using the following")[0].strip()
            raise ArgumentError(f"{self.name}: {reason}") from error


def _check_arguments(module: Module, origin: str) -> None:
    for kind in (*module.main.body.argument_types, *module.main.result_types):
        if isinstance(kind, OtherType):
            raise UnsupportedOpError(
                f"{origin}: the function takes or returns a {kind.text}; export it without ordered effects"
            )


def _kept_arguments(module: Module, exported: jax.export.Exported | None) -> Sequence[int]:
    """Which of the flat arguments the module's function takes: JAX leaves unused ones out."""
    if exported is not None:
        return exported.module_kept_var_idx
    return range(len(module.main.body.arguments) - len(module.platform_arguments))


def _is_wide(kind: ValueType) -> bool:
    """Whether JAX holds the type only with 64-bit types switched on."""
    return isinstance(kind, TensorType) and kind.dtype.name in {"int64", "uint64", "float64", "complex128"}


def _is_concrete(shape: Sequence[Any]) -> bool:
    return all(isinstance(dim, int) for dim in shape)


def _struct(kind: Any, name: str, scope: jax.export.SymbolicScope) -> jax.ShapeDtypeStruct:
    """The type of a bare module's argument; an unknown dimension gets a name of its own."""
    if kind.is_static:
        return jax.ShapeDtypeStruct(kind.shape, kind.dtype)
    text = ",".join(f"{name}_{i}" if dim < 0 else str(dim) for i, dim in enumerate(kind.shape))
    return jax.ShapeDtypeStruct(jax.export.symbolic_shape(text, scope=scope), kind.dtype)
