# SPDX-License-Identifier: Apache-2.0
"""Files that cannot be read or written, calls that do not fit: each gives one clear line."""

import os
import re
import sys

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

from egraph_opt import frontends
from egraph_opt.errors import ArgumentError, ModelError, OutputError

WANT_TEXT = "want StableHLO text or a StableHLO portable artifact"
NOT_EXPORTED = (
    "got data that is no serialized jax.export artifact, or a damaged one; "
    "write it with egraph_opt.save or jax.export's Exported.serialize"
)


def exported_bytes() -> bytes:
    return bytes(jax.export.export(jax.jit(lambda x: jnp.sin(x) @ x))(np.ones((4, 4), np.float32)).serialize())


def artifact_bytes() -> bytes:
    exported = jax.export.export(jax.jit(lambda x: jnp.sin(x) @ x))(np.ones((4, 4), np.float32))
    return bytes(exported.mlir_module_serialized)


CONTENTS = {
    "empty.stablehlo": (b"", "the file is empty; write the model again"),
    "empty.jaxexport": (b"", "the file is empty; write the model again"),
    "blank.mlir": (b" \n\t\n", "the file is empty; write the model again"),
    "garbage.jaxexport": (b"\x00\x01\x02garbage" * 30, NOT_EXPORTED),
    "short.jaxexport": (b"x", NOT_EXPORTED),
    "cut.jaxexport": (exported_bytes()[: len(exported_bytes()) // 2], NOT_EXPORTED),
    "text.jaxexport": (b"module @m {}", NOT_EXPORTED),
    "artifact.jaxexport": (
        artifact_bytes(),
        "got a StableHLO portable artifact; rename it to artifact.stablehlo",
    ),
    "binary.stablehlo": (b"\xff\xfe\x00\x01" * 50, f"got binary data of another format; {WANT_TEXT}"),
    "zeros.mlir": (bytes(100), "custom op"),
    "prose.stablehlo": (b"hello, this is a note\n", f":1: custom op 'hello' is unknown; {WANT_TEXT}"),
    "cut.stablehlo": (b"module @m {\n  func.func public @main(%x: tensor<2xf32>", f":2: expected ')'; {WANT_TEXT}"),
    "undefined.mlir": (
        b"module @m {\n  func.func @main() -> tensor<f32> {\n    return %a : tensor<f32>\n  }\n}\n",
        f":3: use of undeclared SSA value name; {WANT_TEXT}",
    ),
    "nothing.mlir": (
        b"module @m {\n}\n",
        "got a module with 0 public functions and none named main; "
        "want a StableHLO module whose function to call is @main",
    ),
    "recursive.mlir": (
        b"module @m {\n  func.func @main(%x: tensor<f32>) -> tensor<f32> {\n"
        b"    %0 = call @g(%x) : (tensor<f32>) -> tensor<f32>\n"
        b"    return %0 : tensor<f32>\n  }\n  func.func private @g(%x: tensor<f32>) -> tensor<f32> {\n"
        b"    %0 = call @main(%x) : (tensor<f32>) -> tensor<f32>\n    return %0 : tensor<f32>\n  }\n}\n",
        "function @main calls itself; want a module without recursion",
    ),
    "body.mlir": (
        b"module @m {\n  func.func private @main(tensor<2xf32>) -> tensor<2xf32>\n}\n",
        "function @main has no body; want a whole module",
    ),
}


@pytest.mark.parametrize("name", CONTENTS)
def test_unreadable_content(name, tmp_path, capfd):
    content, message = CONTENTS[name]
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ModelError) as caught:
        frontends.load(path)
    text = str(caught.value)
    separator = "" if message.startswith(":") else ": "
    if name == "zeros.mlir":
        assert text.startswith(f"{path}")
    else:
        assert text == f"{path}{separator}{message}"
    assert "\n" not in text
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("keep", [10, 40, 200, 400])
def test_cut_artifact(keep, tmp_path, capfd):
    path = tmp_path / "cut.stablehlo"
    path.write_bytes(artifact_bytes()[:keep])
    with pytest.raises(ModelError, match="the portable artifact is damaged or too new") as caught:
        frontends.load(path)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_every_cut_of_an_export_is_refused(tmp_path, capfd):
    content = exported_bytes()
    path = tmp_path / "cut.jaxexport"
    for keep in (*range(1, len(content) - 16, 97), len(content) - 10, len(content) - 3):  # the name stands at the end
        path.write_bytes(content[:keep])
        with pytest.raises(ModelError) as caught:
            frontends.load(path)
        assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_missing_file_folder_and_suffix(tmp_path):
    with pytest.raises(ModelError) as caught:
        frontends.load(tmp_path / "none.mlir")
    assert str(caught.value) == f"{tmp_path}/none.mlir: there is no such file; give the path of a model file"
    folder = tmp_path / "folder.mlir"
    folder.mkdir()
    with pytest.raises(ModelError) as caught:
        frontends.load(folder)
    assert str(caught.value) == f"{folder}: got a folder; want a model file (.onnx, .jaxexport, .stablehlo, .mlir)"
    with pytest.raises(ModelError) as caught:
        frontends.load(tmp_path / "model.pb")
    known = ".jaxexport, .stablehlo, .mlir, .onnx"
    assert str(caught.value) == f"{tmp_path}/model.pb: got the suffix '.pb'; want one of {known}"


def test_onnx_without_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "egraph_opt.frontends.onnx", None)
    monkeypatch.setitem(sys.modules, "onnx", None)
    for name in [name for name in sys.modules if name.startswith("egraph_opt.frontends.onnx.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "egraph_opt.frontends.onnx")
    with pytest.raises(ModelError) as caught:
        frontends.load("model.onnx")
    assert str(caught.value) == "model.onnx: reading .onnx needs the package onnx; pip install egraph_opt[onnx]"


def test_missing_flatbuffers_names_the_remedy(tmp_path, monkeypatch):
    path = tmp_path / "model.jaxexport"
    path.write_bytes(exported_bytes())

    def without_flatbuffers(*_args):
        raise ImportError("No module named 'flatbuffers'")

    monkeypatch.setattr(jax.export, "deserialize", without_flatbuffers)
    with pytest.raises(ModelError) as caught:
        frontends.load(path)
    assert str(caught.value) == (
        f"{path}: reading .jaxexport needs the package flatbuffers; pip install egraph_opt[export]"
    )


def test_output_errors(tmp_path):
    x = (np.ones(3, np.float32),)
    with pytest.raises(OutputError) as caught:
        frontends.save(jnp.sin, x, tmp_path / "none" / "model.jaxexport")
    assert str(caught.value) == (
        f"{tmp_path}/none/model.jaxexport: the folder {tmp_path}/none does not exist; make it first"
    )
    with pytest.raises(OutputError) as caught:
        frontends.save(jnp.sin, x, tmp_path / "model.pb")
    assert str(caught.value) == f"{tmp_path}/model.pb: got the suffix '.pb'; want .jaxexport, .stablehlo or .mlir"
    (tmp_path / "model.mlir").mkdir()
    with pytest.raises(OutputError) as caught:
        frontends.save(jnp.sin, x, tmp_path / "model.mlir")
    assert str(caught.value) == f"{tmp_path}/model.mlir: got a folder; want the path of a file to write"


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "model.mlir"
    path.write_bytes(b"old")

    def full(*_args, **_options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fdopen", full)
    with pytest.raises(OutputError) as caught:
        frontends.write_atomically(path, b"new")
    assert str(caught.value) == f"{path}: the file cannot be written (No space left on device)"
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["model.mlir"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_a_pipe_is_written_to_and_stays_a_pipe(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    frontends.write_atomically(path, b"new")
    assert os.read(reader, 10) == b"new"
    os.close(reader)
    assert path.is_fifo()
    assert [p.name for p in tmp_path.iterdir()] == ["pipe"]


def test_a_link_is_followed(tmp_path):
    (tmp_path / "folder").mkdir()
    link = tmp_path / "link.mlir"
    link.symlink_to(tmp_path / "folder" / "model.mlir")
    for content in (b"new", b"newer"):
        frontends.write_atomically(link, content)
        assert link.is_symlink()
        assert (tmp_path / "folder" / "model.mlir").read_bytes() == content


def test_write_atomically_keeps_the_usual_permissions(tmp_path):
    path = tmp_path / "model.mlir"
    frontends.write_atomically(path, b"new")
    plain = tmp_path / "plain"
    plain.write_bytes(b"x")
    assert path.stat().st_mode == plain.stat().st_mode
    assert path.read_bytes() == b"new"


def test_a_host_callback_cannot_be_saved(tmp_path):
    def function(x):
        return jax.pure_callback(np.sin, jax.ShapeDtypeStruct(x.shape, x.dtype), x)

    with pytest.raises(OutputError, match=r"model\.jaxexport: the function cannot be exported: ") as caught:
        frontends.save(function, (np.ones(3, np.float32),), tmp_path / "model.jaxexport")
    assert "\n" not in str(caught.value)


def test_arguments_that_do_not_fit(tmp_path):
    path = tmp_path / "model.jaxexport"
    frontends.save(lambda w, x: w["a"] @ x, ({"a": np.ones((2, 3), np.float32)}, np.ones(3, np.float32)), path)
    model = frontends.load(path)
    with pytest.raises(ArgumentError) as caught:
        model({"a": np.ones((2, 3), np.float32)}, np.ones(4, np.float32))
    assert str(caught.value) == "<lambda>: argument leaf 1: want float32[3], got float32[4]"
    with pytest.raises(ArgumentError) as caught:
        model({"a": np.ones((2, 3), np.float32)}, np.ones(3, np.int32))
    assert str(caught.value) == "<lambda>: argument leaf 1: want float32[3], got int32[3]"
    with pytest.raises(ArgumentError, match="want arguments of the structure"):
        model(np.ones((2, 3), np.float32), np.ones(3, np.float32))


def test_random_keys_that_do_not_fit(tmp_path):
    path = tmp_path / "model.jaxexport"
    frontends.save(lambda key: jax.random.bits(key), (jax.random.key(0, impl="rbg"),), path)
    model = frontends.load(path)
    assert model(*model.example_args()).shape == ()
    for other, name in ((jax.random.key(0), "key<fry>[]"), (jax.random.PRNGKey(0), "uint32[2]")):
        with pytest.raises(ArgumentError) as caught:
            model(other)
        assert str(caught.value) == f"<lambda>: argument leaf 0: want key<rbg>[], got {name}"
    frontends.save(model, model.example_args(), tmp_path / "raw.stablehlo")
    with pytest.raises(ArgumentError, match=re.escape("want uint32[4], got key<rbg>[]")):
        frontends.load(tmp_path / "raw.stablehlo")(jax.random.key(0, impl="rbg"))


def test_dynamic_shapes_that_do_not_fit(tmp_path, capfd):
    b, n = jax.export.symbolic_shape("b, n")
    specs = jax.ShapeDtypeStruct((b, n), np.float32), jax.ShapeDtypeStruct((n,), np.float32)
    path = tmp_path / "model.jaxexport"
    path.write_bytes(jax.export.export(jax.jit(lambda x, y: x @ y))(*specs).serialize())
    model = frontends.load(path)
    with pytest.raises(ArgumentError, match="Found inconsistency between dimension size"):
        model(np.ones((2, 3), np.float32), np.ones(4, np.float32))
    assert capfd.readouterr() == ("", "")
