# SPDX-License-Identifier: Apache-2.0
"""PyTorch modules and exported programs as loaded models: torch writes ONNX in memory, the ONNX frontend reads it.

Only this file needs torch, and only when it is called; docs/torch.md says how calls and weights correspond.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from egraph_opt.errors import ArgumentError, EgraphOptError, ModelError, UnsupportedOpError
from egraph_opt.frontends.model import LoadedModel

_NEEDED = ("torch", "onnx", "onnxscript")
_OWN_OPTIONS = {"f", "dynamo", "args", "kwargs", "model", "dynamic_shapes", "verbose"}
_CLASS = re.compile(r"^<class '[^']*'>: ")


def from_torch(
    module: Any,
    example_args: Any = None,
    example_kwargs: Mapping[str, Any] | None = None,
    *,
    dynamic_shapes: Any = None,
    **options: Any,
) -> LoadedModel:
    """A PyTorch program as a JAX function.

    Args:
        module: a ``torch.nn.Module``, taken in evaluation mode, or what ``torch.export.export`` made.
        example_args: positional arguments to export with: tensors, NumPy or JAX arrays, trees of them; one tensor may
            stand alone. An exported program has its own.
        example_kwargs: keyword arguments, likewise.
        dynamic_shapes: which sizes stay open, as in ``torch.export.export``.
        options: further ones of ``torch.onnx.export``, such as ``opset_version`` or ``optimize``.

    Returns:
        The model; its arguments are the tensors among the example arguments, in order, and its weights are frozen.

    Raises:
        ArgumentError: no module, or arguments that it does not take.
        ModelError: a package is missing, or torch cannot export the module.
        UnsupportedOpError: an operation has no form in ONNX, or the ONNX frontend does not know it.
    """
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise ModelError(f"from_torch: needs the package {', '.join(missing)}; pip install egraph_opt[torch]")
    if wrong := sorted(_OWN_OPTIONS & set(options)):
        raise ArgumentError(f"from_torch: got the option {', '.join(wrong)}; from_torch sets it itself")
    with _quiet():
        import torch

        name = _check(torch, module, example_args, example_kwargs)
        args, kwargs = _tensors(torch, example_args), _tensors(torch, dict(example_kwargs or {}))
        args = () if args is None else args if isinstance(args, tuple) else (args,)
        try:
            with _evaluating(torch, module):
                fixed = {"dynamo": True, "verbose": False, "dynamic_shapes": dynamic_shapes}
                program = torch.onnx.export(module, args, kwargs=kwargs or None, **fixed, **options)
        except torch.onnx.OnnxExporterError as error:
            raise _refusal(name, str(error)) from error
        except TypeError as error:
            raise ArgumentError(f"from_torch: {name}: torch.onnx.export: {_first_line(str(error))}") from error
        proto = program.model_proto
    from egraph_opt.frontends.onnx.model import OnnxModel
    from egraph_opt.frontends.onnx.read import program_of

    path = Path(f"{name}.onnx")
    return OnnxModel(program_of(proto, path), path)


def _check(torch: Any, module: Any, args: Any, kwargs: Any) -> str:
    """Refuse what cannot be exported; gives a name for what can."""
    if isinstance(module, torch.export.ExportedProgram):
        if args is not None or kwargs:
            raise ArgumentError("from_torch: an exported program has its own example arguments; give none")
        return "exported_program"
    if not isinstance(module, torch.nn.Module):
        kind = module.__name__ if isinstance(module, type) else type(module).__name__
        raise ArgumentError(
            f"from_torch: want a torch.nn.Module or torch.export.ExportedProgram, got {kind}; "
            "wrap a function in a module's forward"
        )
    name = type(module).__name__
    if args is None and not kwargs:
        raise ArgumentError(f"from_torch: {name}: want example arguments to export it with, got none")
    return name


def _tensors(torch: Any, tree: Any) -> Any:
    """The same tree with tensors in place of arrays."""
    if isinstance(tree, np.ndarray | np.generic | jax.Array):
        array = np.asarray(tree)
        if array.dtype.name == "bfloat16":  # NumPy has this type from JAX only, and torch does not take it
            return torch.from_numpy(array.astype(np.float32)).to(torch.bfloat16)
        return torch.from_numpy(array.copy())
    if isinstance(tree, dict):
        return {key: _tensors(torch, value) for key, value in tree.items()}
    if type(tree) in (tuple, list):
        return type(tree)(_tensors(torch, value) for value in tree)
    return tree


@contextlib.contextmanager
def _evaluating(torch: Any, module: Any) -> Iterator[None]:
    """The module in evaluation mode; each part goes back to the mode that it had."""
    parts: Sequence[Any] = list(module.modules()) if isinstance(module, torch.nn.Module) else ()
    before = [part.training for part in parts]
    try:
        for part in parts:
            part.training = False
        yield
    finally:
        for part, mode in zip(parts, before, strict=True):
            part.training = mode


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's notes on packages of its own that it does without, and its deprecations."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)


def _refusal(name: str, text: str) -> EgraphOptError:
    """The exporter's page of advice as one line that says why."""
    reason = _CLASS.sub("", _first_line(text.partition("## Exception summary")[2] or text))
    if "No ONNX function found" in reason:
        return UnsupportedOpError(
            f"from_torch: {name}: {reason.partition(' Failure message')[0].rstrip('.')}; write it in other operations"
        )
    where = re.search(r'raised this error:\n\s*File "([^"]*)", line (\d+)', text)
    place = f" at {where[1]}:{where[2]}" if where else ""
    return ModelError(
        f"from_torch: {name}: torch.export refuses it{place}: {reason.rstrip('.')}; "
        "mend the module, or its example arguments, until torch.export.export takes them"
    )


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "no reason given")
