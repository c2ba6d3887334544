# SPDX-License-Identifier: Apache-2.0
"""GroupQueryAttention beside onnxruntime: prompts, steps with a cache, rotary angles, windows, sinks."""

from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import onnx
import pytest

from egraph_opt.errors import UnsupportedOpError
from egraph_opt.frontends.onnx.model import OnnxModel
from egraph_opt.frontends.onnx.node import DataDependentError
from egraph_opt.frontends.onnx.read import program_of
from tests.onnx_frontend.nodes import Case, normal

B, H, G, D = 2, 4, 2, 16
ANGLES = normal(32, D // 2)
COS, SIN = np.cos(ANGLES), np.sin(ANGLES)
HEADS = {"num_heads": H, "kv_num_heads": G}


def ints(*values, dtype=np.int32):
    return np.array(values, dtype)


def attention(
    steps, past=None, lengths=None, total=None, angles=False, extra=None, sink=None, positions=None, batch=B, **attrs
):
    """A case of one step or prompt; ``past`` is the length of the cache."""
    whole = total or steps + (past or 0)
    inputs = [normal(batch, steps, H * D), normal(batch, steps, G * D), normal(batch, steps, G * D)]
    inputs += [None if past is None else normal(batch, G, past, D) for _ in range(2)]
    inputs += [ints(*(lengths or (whole - 1,) * batch)), ints(whole)]
    inputs += [COS, SIN] if angles else [None, None]
    inputs += [positions, extra, sink]
    attributes = {**HEADS, **attrs, **({"do_rotary": 1} if angles else {})}
    while inputs[-1] is None:
        inputs.pop()
    return Case("GroupQueryAttention", inputs, attributes, 3, domain="com.microsoft", tolerance=2e-5)


CASES = {
    "prompt": attention(6),
    "prompt-turned": attention(6, angles=True),
    "prompt-interleaved": attention(6, angles=True, rotary_interleaved=1),
    "step": attention(1, past=5, angles=True, total=6),
    "step-scaled-capped": attention(1, past=5, total=6, scale=0.4, softcap=2.0),
    "several-steps": attention(3, past=5, angles=True, batch=1),
    "bias": attention(3, past=5, extra=normal(1, 1, 3, 8), batch=1),
    "window": attention(7, local_window_size=3),
    "window-of-step": attention(1, past=7, total=8, local_window_size=3),
    "smooth": attention(4, smooth_softmax=1),
    "sink": attention(4, sink=normal(H)),
    "positions": attention(1, past=4, angles=True, positions=np.array([[7], [3]])),
    "positions-of-prompt": attention(4, angles=True, positions=np.array([[3, 9, 5, 7], [1, 0, 2, 8]])),
}


@pytest.mark.parametrize("name", CASES)
def test_as_onnxruntime(name):
    CASES[name].check()


def test_packed_inputs_are_the_separate_ones():
    case = CASES["prompt-turned"]
    packed = np.concatenate(case.inputs[:3], axis=2)
    both = replace(case, inputs=[packed, None, None, *case.inputs[3:]])
    both.check()
    for have, want in zip(both.results(), case.results(), strict=True):
        np.testing.assert_allclose(have, want, rtol=1e-6, atol=1e-6)


def model_of(case, constant=()):
    """The node as a function of all its inputs but those named."""
    proto = case.proto()
    for name in constant:
        proto.graph.initializer.append(onnx.numpy_helper.from_array(case.feeds[name], name))
    return OnnxModel(program_of(proto, Path("one.onnx")), Path("one.onnx"))


def test_cache_of_fixed_length_filled_to_computed_places():
    """Rows of the cache behind a sequence's end are left open; what comes before, and the result, is compared."""
    case = attention(1, past=12, lengths=(8, 5), total=9, angles=True)
    model = model_of(case, ["x6"])
    feeds = {name: case.feeds[name] for name in model.input_names}

    def from_mask(mask):
        return model(**{**feeds, "x5": mask.sum(1, dtype=np.int32) - 1})

    wanted = case.wanted()
    for have in (case.results(), jax.jit(from_mask)(np.arange(12) < np.array([[9], [6]]))):
        np.testing.assert_allclose(have[0], wanted[0], rtol=1e-5, atol=1e-5)
        for cache, other in zip(have[1:], wanted[1:], strict=True):
            assert cache.shape == other.shape == (B, G, 12, D)
            for b, length in enumerate((9, 6)):
                np.testing.assert_allclose(cache[b, :, :length], other[b, :, :length], rtol=1e-5, atol=1e-5)


def test_heads_are_normed_as_by_their_own_nodes():
    plain = attention(5, angles=True)
    gains = [normal(D), normal(D)]
    normed = replace(
        plain,
        inputs=[*plain.inputs, None, None, None, None, None, *gains],
        attributes={**plain.attributes, "qk_norm_epsilon": 1e-5},
    )

    def norm(x, gain):
        rows = x.reshape(*x.shape[:2], -1, D)
        return (rows / np.sqrt((rows * rows).mean(-1, keepdims=True) + 1e-5) * gain).reshape(x.shape)

    q, k = (norm(x, gain) for x, gain in zip(plain.inputs[:2], gains, strict=True))
    for have, want in zip(normed.results(), replace(plain, inputs=[q, k, *plain.inputs[2:]]).wanted(), strict=True):
        np.testing.assert_allclose(have, want, rtol=2e-5, atol=2e-5)


def test_total_length_must_be_known_under_a_trace():
    case = attention(1, past=5, total=6)
    with pytest.raises(DataDependentError, match="input 6 must be known"):
        jax.jit(model_of(case))(**case.feeds)


def test_quantised_caches_are_refused():
    case = attention(1, past=5, total=6)
    scaled = replace(case, inputs=[*case.inputs, *[None] * 5, np.float32([1]), np.float32([1])])
    with pytest.raises(UnsupportedOpError, match=r"see docs/onnx\.md"):
        scaled.results()
