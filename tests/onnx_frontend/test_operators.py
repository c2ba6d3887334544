# SPDX-License-Identifier: Apache-2.0
"""Rules of ONNX operators beyond the standard's tests: forms against onnxruntime, old versions, errors, derivatives."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from egraph_opt.errors import ModelError
from egraph_opt.frontends.onnx import document
from egraph_opt.frontends.onnx.model import OnnxModel
from egraph_opt.frontends.onnx.node import DataDependentError
from egraph_opt.frontends.onnx.read import program_of

DOCS = Path(__file__).resolve().parents[2] / "docs"
ML = "ai.onnx.ml"
RANDOM = np.random.default_rng(0)
X = RANDOM.standard_normal((2, 3, 4)).astype(np.float32)
IMAGE = RANDOM.standard_normal((1, 2, 3, 4)).astype(np.float32)
DEEP = RANDOM.standard_normal((1, 8, 2, 3)).astype(np.float32)
TIES = np.array([[3, 1, 3, 2], [0, 0, -5, 7]], np.int64)


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def proto(op: str, opset: int, inputs: list, count: int = 1, domain: str = "", known=(), **attributes):
    """A model of one node; inputs at the places ``known`` are initializers."""
    names = [f"x{i}" if x is not None else "" for i, x in enumerate(inputs)]
    outputs = [f"y{i}" for i in range(count)]
    node = helper.make_node(op, names, outputs, name="it", domain=domain, **attributes)

    def info(i):
        kind = helper.np_dtype_to_tensor_dtype(inputs[i].dtype)
        return helper.make_tensor_value_info(names[i], kind, inputs[i].shape)

    free = [i for i, x in enumerate(inputs) if x is not None and i not in known]
    graph = helper.make_graph(
        [node],
        "one",
        [info(i) for i in free],
        [helper.make_empty_tensor_value_info(name) for name in outputs],
        [onnx.numpy_helper.from_array(inputs[i], names[i]) for i in known],
    )
    imports = [helper.make_opsetid("", opset if not domain else 17)]
    imports += [helper.make_opsetid(domain, opset)] if domain else []
    return helper.make_model(graph, opset_imports=imports, ir_version=8), [inputs[i] for i in free]


def run(op: str, opset: int, inputs: list, **options) -> list[np.ndarray]:
    model, free = proto(op, opset, inputs, **options)
    results = OnnxModel(program_of(model, Path("one.onnx")), Path("one.onnx"))(*free)
    return [np.asarray(x) for x in (results if isinstance(results, tuple) else (results,))]


TREE = {
    "nodes_treeids": [0, 0, 0, 1, 1, 1, 1, 1],
    "nodes_nodeids": [0, 1, 2, 0, 1, 2, 3, 4],
    "nodes_featureids": [0, 0, 0, 2, 0, 1, 0, 0],
    "nodes_modes": ["BRANCH_LEQ", "LEAF", "LEAF", "BRANCH_LT", "LEAF", "BRANCH_GTE", "LEAF", "LEAF"],
    "nodes_values": [0.1, 0.0, 0.0, 0.3, 0.0, -0.2, 0.0, 0.0],
    "nodes_truenodeids": [1, 0, 0, 1, 0, 3, 0, 0],
    "nodes_falsenodeids": [2, 0, 0, 2, 0, 4, 0, 0],
    "nodes_missing_value_tracks_true": [1, 0, 0, 0, 0, 0, 0, 0],
}
ROWS = np.concatenate([RANDOM.standard_normal((20, 3)), [[np.nan, 1, 1]]]).astype(np.float32)


def leaves(kind: str, targets: list[int]) -> dict:
    return {
        f"{kind}_treeids": [0, 0, 1, 1, 1],
        f"{kind}_nodeids": [1, 2, 1, 3, 4],
        f"{kind}_ids": targets,
        f"{kind}_weights": [0.5, -1.0, 0.25, 1.5, 2.0],
    }


CASES = {
    "slice backwards": ("Slice", 13, [X, ints(-1, 9), ints(-99, 1), ints(2, 1), ints(-2, -1)], {}),
    "slice v1": ("Slice", 9, [X], {"starts": [1, -3], "ends": [2**31, -1], "axes": [0, 2]}),
    "split uneven": ("Split", 18, [X], {"num_outputs": 3, "axis": -1, "count": 3}),
    "split v2": ("Split", 11, [X], {"split": [1, 3], "axis": 2, "count": 2}),
    "split sizes": ("Split", 13, [X, ints(1, 2)], {"axis": 1, "count": 2}),
    "pad negative": ("Pad", 13, [X, ints(0, -1, 2, 1, 0, -1), np.float32(7)], {}),
    "pad reflect": ("Pad", 13, [X, ints(0, 1, 3, 1, 2, 0)], {"mode": "reflect"}),
    "pad edge": ("Pad", 13, [X, ints(2, 1, 3, 1, 2, 0)], {"mode": "edge"}),
    "pad wrap axes": ("Pad", 19, [X, ints(3, 1), None, ints(-1)], {"mode": "wrap"}),
    "pad v2": ("Pad", 9, [X], {"pads": [0, 1, 0, 0, 0, 2], "value": 1.5}),
    "top smallest": ("TopK", 11, [TIES, ints(3)], {"largest": 0, "count": 2}),
    "top axis": ("TopK", 11, [X, ints(2)], {"axis": 1, "count": 2}),
    "top v1": ("TopK", 9, [X], {"k": 2, "count": 2}),
    "cumsum": ("CumSum", 14, [X, np.array(-2, np.int64)], {"exclusive": 1, "reverse": 1}),
    "mod floor": ("Mod", 13, [TIES, ints(3, -3, 2, -2)], {}),
    "mod trunc": ("Mod", 13, [X, np.array([0.3, -0.3, 1, -1], np.float32)], {"fmod": 1}),
    "reduce attribute": ("ReduceLogSumExp", 13, [X], {"axes": [-1, 0], "keepdims": 0}),
    "reduce integers": ("ReduceMean", 13, [TIES.astype(np.int32)], {"axes": [1]}),
    "reduce l2": ("ReduceL2", 18, [X, ints(1)], {}),
    "reduce not": ("ReduceSum", 13, [X], {"noop_with_empty_axes": 1}),
    "reduce prod": ("ReduceProd", 18, [X, ints(0, 2)], {"keepdims": 0}),
    "arg last": ("ArgMax", 13, [TIES], {"axis": -1, "select_last_index": 1, "keepdims": 0}),
    "arg min": ("ArgMin", 13, [X], {"axis": 1}),
    "gather negative": ("Gather", 13, [X, np.array([[0, -1], [2, 2]], np.int64)], {"axis": 1}),
    "gather elements": ("GatherElements", 13, [X, np.array([[[0, -1]], [[2, 1]]], np.int64)], {"axis": 1}),
    "gather nd batch": ("GatherND", 13, [X, np.array([[[1, -1]], [[0, 2]]], np.int64)], {"batch_dims": 1}),
    "scatter add": (
        "ScatterElements", 16, [X, np.zeros((2, 3, 2), np.int64), X[:, :, :2]], {"axis": 2, "reduction": "add"},
    ),
    "scatter nd max": ("ScatterND", 18, [X, np.array([[1, 2], [0, -1]], np.int64), X[0, :2]], {"reduction": "max"}),
    "one hot": ("OneHot", 11, [TIES, np.array(4, np.int64), np.array([2, 5], np.float32)], {"axis": 1}),
    "trilu": ("Trilu", 14, [X, np.array(-1, np.int64)], {"upper": 0}),
    "eye": ("EyeLike", 9, [TIES], {"k": 1, "dtype": TensorProto.FLOAT}),
    "clip below": ("Clip", 13, [X, np.float32(-0.2)], {}),
    "clip v6": ("Clip", 6, [X], {"min": -0.2, "max": 0.4}),
    "softmax v11": ("Softmax", 11, [X], {"axis": 1}),
    "hardmax v11": ("Hardmax", 11, [X], {"axis": 1}),
    "upsample linear": ("Upsample", 9, [IMAGE, np.array([1, 1, 2, 2], np.float32)], {"mode": "linear"}),
    "upsample nearest": ("Upsample", 7, [IMAGE], {"scales": [1.0, 1.0, 2.0, 1.5]}),
    "depth to space": ("DepthToSpace", 13, [DEEP], {"blocksize": 2, "mode": "CRD"}),
    "reverse sequence": ("ReverseSequence", 10, [X, ints(2, 3)], {"batch_axis": 0, "time_axis": 1}),
    "unique rows": ("Unique", 11, [np.array([[2, 1], [0, 3], [2, 1]], np.float32)], {"axis": 0, "count": 4}),
    "nonzero": ("NonZero", 13, [TIES], {}),
    "compress": ("Compress", 11, [X, np.array([False, True])], {"axis": 2}),
    "pow integers": ("Pow", 15, [TIES, np.array(2.0, np.float32)], {}),
    "div integers": ("Div", 14, [TIES, ints(-2, 2, 2, -2)], {}),
    "shift": ("BitShift", 11, [np.array([1, 200, 7], np.uint8), np.array([7, 3, 0], np.uint8)], {"direction": "LEFT"}),
    "gemm": ("Gemm", 13, [X[0], X[1], np.ones(3, np.float32)], {"transB": 1, "alpha": 0.5, "beta": 2.0}),
    "cast to text": ("Cast", 13, [TIES], {"to": TensorProto.STRING}),
    "det": ("Det", 11, [RANDOM.standard_normal((2, 5, 5)).astype(np.float32)], {}),
    "ngrams": (
        "TfIdfVectorizer", 9, [np.array([1, 2, 1, 3, 2, 1], np.int64)],
        {"mode": "TFIDF", "min_gram_length": 1, "max_gram_length": 2, "max_skip_count": 1, "ngram_counts": [0, 2],
         "ngram_indexes": [0, 1, 3, 2], "pool_int64s": [1, 2, 1, 2, 2, 1], "weights": [1.0, 2.0, 0.5, 4.0]},
    ),
    "labels": (
        "LabelEncoder", 2, [TIES],
        {"domain": ML, "keys_int64s": [3, 0, -5], "values_floats": [1.0, 2.0, 3.0], "default_float": -1.0},
    ),
    "linear classifier": (
        "LinearClassifier", 1, [ROWS[:-1]],
        {"domain": ML, "coefficients": [0.5, 1.0, -1.0, -0.5, 0.2, 1.0, 0.1, 0.1, 0.3], "intercepts": [0.1, 0.2, -0.1],
         "classlabels_ints": [4, 5, 9], "post_transform": "SOFTMAX", "count": 2},
    ),
    "scaler": ("Scaler", 1, [ROWS[:-1]], {"domain": ML, "offset": [0.5, 1.0, -1.0], "scale": [2.0, 1.0, 0.1]}),
    "normalizer": ("Normalizer", 1, [ROWS[:-1]], {"domain": ML, "norm": "L2"}),
    "imputer": (
        "Imputer", 1, [ROWS],
        {"domain": ML, "imputed_value_floats": [1.0, 2.0, 3.0], "replaced_value_float": float("nan")},
    ),
    "forest of scores": (
        "TreeEnsembleRegressor", 1, [ROWS],
        {"domain": ML, "n_targets": 2, **TREE, **leaves("target", [0, 1, 1, 0, 1])},
    ),
    "forest of extremes": (
        "TreeEnsembleRegressor", 1, [ROWS],
        {"domain": ML, "n_targets": 1, "aggregate_function": "MAX", "base_values": [0.5], **TREE,
         **leaves("target", [0] * 5)},
    ),
    "forest of classes": (
        "TreeEnsembleClassifier", 1, [ROWS],
        {"domain": ML, "classlabels_int64s": [7, 8, 9], "post_transform": "SOFTMAX", "count": 2, **TREE,
         **leaves("class", [0, 1, 2, 0, 1])},
    ),
    "forest of two classes": (
        "TreeEnsembleClassifier", 1, [ROWS],
        {"domain": ML, "classlabels_strings": ["no", "yes"], "post_transform": "LOGISTIC", "count": 2, **TREE,
         **leaves("class", [0] * 5)},
    ),
}  # fmt: skip


@pytest.mark.alike
@pytest.mark.parametrize("case", CASES)
def test_agrees_with_onnxruntime(case):
    runtime = pytest.importorskip("onnxruntime")
    op, opset, inputs, options = CASES[case]
    inputs = [x if x is None else np.asarray(x) for x in inputs]
    model, free = proto(op, opset, inputs, **options)
    settings = runtime.SessionOptions()
    settings.log_severity_level = 4
    session = runtime.InferenceSession(model.SerializeToString(), settings, providers=["CPUExecutionProvider"])
    want = session.run(None, {info.name: x for info, x in zip(session.get_inputs(), free, strict=True)})
    got = run(op, opset, inputs, **options)
    assert len(want) == len(got)
    for mine, theirs in zip(got, want, strict=True):
        assert mine.shape == theirs.shape
        if theirs.dtype == object:
            assert mine.tolist() == theirs.tolist()
        else:
            assert mine.dtype == theirs.dtype
            np.testing.assert_allclose(mine, theirs, rtol=2e-5, atol=2e-5)


def test_versions_that_broadcast_on_request():
    a, b = X, np.array([1, 2, 3], np.float32)
    np.testing.assert_array_equal(run("Add", 6, [a, b], broadcast=1, axis=1)[0], a + b[:, None])
    np.testing.assert_array_equal(run("Less", 6, [a, b], broadcast=1, axis=1)[0], a < b[:, None])
    np.testing.assert_allclose(run("Pow", 6, [a, b], broadcast=1, axis=1)[0], a ** b[:, None], rtol=1e-6)
    np.testing.assert_array_equal(run("PRelu", 6, [a, b])[0], np.where(a < 0, a * b[:, None], a))


def jaxpr(op: str, opset: int, inputs: list, **options) -> str:
    model, free = proto(op, opset, inputs, **options)
    loaded = OnnxModel(program_of(model, Path("one.onnx")), Path("one.onnx"))
    return str(jax.make_jaxpr(loaded)(*free))


def test_gather_of_known_places_is_a_slice():
    for places in (ints(1, 2), ints(2, 1), np.array(-1, np.int64), ints(0, 2)):
        text = jaxpr("Gather", 13, [X, places], known=(1,), axis=2)
        assert " slice[" in text
        assert "gather" not in text
    assert "gather" in jaxpr("Gather", 13, [X, ints(0, 1, 1)], known=(1,), axis=2)


ACTIVATIONS = [
    "Elu", "Selu", "Celu", "LeakyRelu", "ThresholdedRelu", "HardSigmoid", "HardSwish", "Softplus", "Softsign", "Mish",
    "Sigmoid", "Tanh", "Relu", "Erf", "Gelu", "Swish", "Shrink", "LogSoftmax", "Softmax", "ReduceLogSumExp", "Hardmax",
]  # fmt: skip


@pytest.mark.alike
@pytest.mark.parametrize("op", ACTIVATIONS)
def test_activations_keep_their_type_and_have_finite_derivatives(op):
    x = np.array([[-1e4, -80, -1, 0, 1, 80, 1e4]], np.float32)
    model, _ = proto(op, 24, [x])
    loaded = OnnxModel(program_of(model, Path("one.onnx")), Path("one.onnx"))
    text = str(jax.make_jaxpr(loaded)(x))
    assert "f64" not in text
    assert "custom_" not in text
    slopes = jax.grad(lambda x: jnp.sum(loaded(x)))(x)
    assert slopes.dtype == np.float32
    assert np.isfinite(slopes).all()


FAULTS = [
    ("Reshape", 13, [X, ints(-1, -1)], {"known": (1,)}, "at most one -1"),
    ("Reshape", 13, [X, ints(5, 5)], {"known": (1,)}, "do not fit"),
    ("Concat", 13, [X, X[:1, :1]], {"axis": 2}, "do not fit"),
    ("Gather", 13, [X, ints(9)], {"known": (1,)}, "index 9; the axis 0 has 2"),
    ("Split", 13, [X], {"axis": 1, "count": 2}, "multiple of the 2 outputs"),
    ("Slice", 13, [X, ints(0), ints(1), ints(7)], {"known": (1, 2, 3)}, "axis 7"),
    ("TopK", 11, [X, ints(9)], {"known": (1,), "count": 2}, "K = 9"),
    ("ScatterND", 18, [X, np.zeros((1, 2), np.int64), X], {}, "got updates of the shape"),
    ("Pad", 13, [X, ints(1, 1)], {"known": (1,)}, "2 pads for 3 axes"),
    ("Cast", 13, [X], {"to": 99}, "element type 99"),
    ("Mod", 13, [X, X.astype(np.float64)], {}, "one type"),
    ("Add", 13, [X], {}, "got 1 inputs; want 2"),
]


@pytest.mark.parametrize(
    ("op", "opset", "inputs", "options", "reason"), FAULTS, ids=lambda x: x if isinstance(x, str) else ""
)
def test_a_node_that_contradicts_the_standard_is_named(op, opset, inputs, options, reason):
    with pytest.raises(ModelError) as caught:
        run(op, opset, inputs, **options)
    message = str(caught.value)
    assert reason in message
    assert f"'it' ({op})" in message
    assert "\n" not in message


def test_what_needs_values_runs_outside_of_traces_only():
    np.testing.assert_array_equal(run("NonZero", 13, [TIES])[0], np.nonzero(TIES))
    model, _ = proto("NonZero", 13, [TIES])
    loaded = OnnxModel(program_of(model, Path("one.onnx")), Path("one.onnx"))
    with pytest.raises(DataDependentError, match="'it' \\(NonZero\\): its input must be known"):
        jax.jit(loaded)(TIES)


def test_random_numbers_follow_the_seed():
    draws = [run("RandomNormal", 1, [], shape=[2000], seed=seed, scale=2.0, mean=1.0)[0] for seed in (1.0, 1.0, 1.5)]
    np.testing.assert_array_equal(draws[0], draws[1])
    assert not np.array_equal(draws[0], draws[2])
    assert abs(draws[0].mean() - 1) < 0.2
    assert abs(draws[0].std() - 2) < 0.2
    coins = run("Bernoulli", 15, [np.full(4000, 0.25, np.float32)], seed=3.0)[0]
    assert abs(coins.mean() - 0.25) < 0.03
    drawn = run("Multinomial", 7, [np.log(np.array([[0.1, 0.9]], np.float32))], sample_size=3000, seed=1.0)[0]
    assert drawn.shape == (1, 3000)
    assert abs(drawn.mean() - 0.9) < 0.03


def test_eight_bit_floats_saturate():
    x = np.array([1e6, -1e6, np.inf, np.nan, 0.3], np.float32)
    code = TensorProto.FLOAT8E4M3FN
    kept = run("Cast", 19, [x], to=code)[0].astype(np.float32)
    np.testing.assert_allclose(kept, [448, -448, 448, np.nan, 0.3125])
    lost = run("Cast", 19, [x], to=code, saturate=0)[0].astype(np.float32)
    np.testing.assert_allclose(lost, [np.nan, np.nan, np.nan, np.nan, 0.3125])


def test_table_is_current():
    assert (DOCS / "onnx-operators.md").read_text("utf-8") == document.page(), (
        "run: python -m egraph_opt.frontends.onnx.document > docs/onnx-operators.md"
    )
