# SPDX-License-Identifier: Apache-2.0
"""The standard's own tests: one for each operator on every run, all of them in the slow one; the page is current."""

import re
from pathlib import Path

import numpy as np
import onnx
import pytest

from egraph_opt.frontends.onnx import conformance
from egraph_opt.frontends.onnx.backend import Backend

PAGE = Path(__file__).resolve().parents[2] / "docs" / "onnx-conformance.md"


def counts() -> dict[str, tuple[int, int]]:
    """What the page says: group -> tests, passed."""
    rows = re.findall(r"^\| (\w+) \| (\d+) \| (\d+) \| \d+ \|$", PAGE.read_text("utf-8"), re.MULTILINE)
    return {group: (int(tests), int(passed)) for group, tests, passed in rows}


def known_failures() -> set[tuple[str, str]]:
    return set(re.findall(r"^\| (\w+) \| `([^`]+)` \|", PAGE.read_text("utf-8"), re.MULTILINE))


def test_page_holds_all_groups_and_beats_onnxruntime():
    found = counts()
    assert {group: tests for group, (tests, _) in found.items()} == conformance.GROUPS
    for group, (tests, passed) in found.items():
        failures = sum(kind == group for kind, _ in known_failures())
        assert passed + failures == tests, group
        assert passed >= conformance.ONNXRUNTIME[group], group


@pytest.mark.slow
def test_one_of_each_operator():
    """The shortest name among the tests of an operator is its plainest one."""
    found = conformance.cases()
    chosen: dict[str, tuple[str, str]] = {}
    for group, name in sorted(found, key=lambda key: (len(key[1]), key)):
        if group == "plain" or group == "simple":
            chosen.setdefault(re.split(r"[_\d]", name)[0], (group, name))
    assert len(chosen) > 150
    failed = [outcome for key in chosen.values() if not (outcome := conformance.run(*key, *found[key])).passed]
    surprises = [f"{o.name}: {o.reason}" for o in failed if (o.group, o.name) not in known_failures()]
    assert not surprises, "\n".join(surprises)


@pytest.mark.slow
def test_all():
    outcomes = conformance.run_all(2)
    assert len(outcomes) == sum(conformance.GROUPS.values())
    failed = {(o.group, o.name): o.reason for o in outcomes if not o.passed}
    surprises = [
        f"{name}: {reason}" for (group, name), reason in failed.items() if (group, name) not in known_failures()
    ]
    assert not surprises, "\n".join(surprises)


@pytest.mark.slow
def test_sums_of_a_large_program_are_right():
    """The standard's ResNet-50 ends in a softmax over equal logits, which hides what comes before: look at that."""
    runtime = pytest.importorskip("onnxruntime")
    model = onnx.load(Path(onnx.__file__).parent / "backend/test/data/light/light_resnet50.onnx")
    gemm = next(node for node in model.graph.node if node.op_type == "Gemm")
    del model.graph.output[:]
    model.graph.output.append(onnx.helper.make_empty_tensor_value_info(gemm.output[0]))
    x = (np.arange(3 * 224 * 224, dtype=np.float32) / (3 * 224 * 224)).reshape(1, 3, 224, 224)
    settings = runtime.SessionOptions()
    settings.log_severity_level = 4
    session = runtime.InferenceSession(model.SerializeToString(), settings, providers=["CPUExecutionProvider"])
    want = session.run(None, {session.get_inputs()[0].name: x})[0]
    np.testing.assert_allclose(Backend.prepare(model).run([x])[0], want, rtol=1e-4)
