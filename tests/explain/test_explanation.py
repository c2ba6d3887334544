# SPDX-License-Identifier: Apache-2.0
"""What a user reads: the text, the page and the JSON of an explanation."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import egraph_opt
from egraph_opt.cost import count_graph
from egraph_opt.errors import EgraphOptError
from egraph_opt.explain.checker import CertificateError, check, digest, main
from egraph_opt.explain.explanation import Explanation
from egraph_opt.explain.prove import Proof

A = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32)
INV = """
;; Undoes the hyperbolic sine.
;; numerics: reassociate
(rewrite (Asinh (Sinh ?x)) ?x :name "own-asinh-of-sinh")
"""


def program(a: Any, b: Any, v: Any) -> Any:
    return jnp.tanh((a @ b) @ v), a + b


def planned(function: Any = program, **options: Any) -> Any:
    return egraph_opt.optimize(function, measure=False, budget=5.0, **options).plan(A, A, A[0])


@pytest.fixture(scope="module")
def explanation() -> Explanation:
    found = planned().explain()
    assert isinstance(found, Explanation)
    return found


def test_text_names_line_rule_bindings_evidence_and_gain(explanation: Explanation) -> None:
    text = str(explanation)
    line = next(n for n, s in enumerate(Path(__file__).read_text("utf-8").splitlines(), 1) if "(a @ b) @ v" in s)
    assert f"test_explanation.py:{line}" in text
    assert "proven equal to the original; steps: 1, parts changed: 1" in text
    assert "regroup-right-y: z (x y) = x (y z): y leaves x for z.  [contract.egg:" in text
    assert "because (regroup.pair a,ba->b;64,64 ab,bc->ac;64,64,64 1 0) is ab,b->a;64,64" in text
    assert "?x = a, ?y = b, ?z = v" in text
    assert "memory traffic" in text


def test_gain_of_the_chain_is_that_of_the_graphs(explanation: Explanation) -> None:
    (chain,) = explanation.chains
    before, after = (count_graph(g).flops for g in (explanation.result.before, explanation.result.after))
    assert chain.goes.flops - chain.comes.flops == before - after
    assert chain.goes.bytes > chain.comes.bytes
    assert chain.goes.seconds > chain.comes.seconds


def test_page_holds_the_chain(explanation: Explanation) -> None:
    page = explanation.result.report.to_html(explanation.to_html())
    assert "What changed and why" in page
    assert "regroup-right-y" in page
    assert page.count("<details>") == len(explanation.chains)


def test_json_is_checked_by_the_program_alone(explanation: Explanation, tmp_path: Path) -> None:
    file = tmp_path / "certificate.json"
    file.write_text(explanation.to_json(), encoding="utf-8")
    assert explanation.check() == ""
    command = [sys.executable, "-m", "egraph_opt.explain.checker", str(file)]
    good = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (good.returncode, good.stderr) == (0, "")
    certificate = json.loads(file.read_text("utf-8"))
    certificate["steps"][0]["rule"] = "regroup-left-y"
    file.write_text(json.dumps(certificate), encoding="utf-8")
    with pytest.raises(SystemExit, match=r"^refused: it was changed: its digest is another one$"):
        main([str(file)])
    certificate["rules"]["regroup-left-y"] = [*certificate["rules"]["regroup-right-y"][1::-1], []]
    certificate["digest"] = digest({name: part for name, part in certificate.items() if name != "digest"})
    file.write_text(json.dumps(certificate), encoding="utf-8")
    with pytest.raises(SystemExit, match=r"^refused: step 0: no instance of its rule$"):
        main([str(file)])


def test_rules_of_users_are_told_in_the_certificate(tmp_path: Path) -> None:
    (tmp_path / "mine.egg").write_text(INV, encoding="utf-8")

    def undone(a: Any, b: Any, v: Any) -> Any:
        return jnp.arcsinh(jnp.sinh(a @ v))

    result = planned(undone, rules=tmp_path, unchecked=True)
    found = result.explain()
    assert found.certificate is not None, found.proof.reason
    assert [step["rule"] for step in found.certificate["steps"]] == ["own-asinh-of-sinh"]
    assert len(found.certificate["rules"]) == 1
    assert check(found.certificate) == 1


def test_frozen_weights_are_explained() -> None:
    result = egraph_opt.optimize(lambda w, u, v: (v @ w) @ u, measure=False, budget=5.0, frozen=("w", "u")).plan(
        A, A, A
    )
    found = result.explain()
    assert found.check() == ""


def test_a_kept_program_needs_no_steps() -> None:
    found = planned(lambda a, b, v: a @ b).explain()
    assert found.certificate is not None
    assert found.certificate["steps"] == []
    assert "written in the same terms" in str(found)


def test_without_a_certificate_it_says_so(explanation: Explanation) -> None:
    none = Explanation(explanation.result, Proof(None, "no chain of rules was found for result 0 (time)"))
    assert "without a certificate: no chain of rules was found for result 0 (time)" in str(none)
    assert none.check()
    assert "No certificate" in none.to_html()
    with pytest.raises(EgraphOptError, match="no certificate"):
        none.to_json()


def test_a_certificate_of_other_programs_is_no_explanation(explanation: Explanation) -> None:
    other = planned(lambda a, b, v: ((a @ b) @ (2 * v), a - b)).explain()
    assert not explanation.check()
    assert not other.check()
    mixed = Explanation(explanation.result, other.proof)
    assert mixed.check() == "the certificate speaks of another program before"


def test_a_law_under_the_name_of_another_rule_is_no_explanation(explanation: Explanation) -> None:
    told = json.loads(explanation.to_json())
    told["rules"]["regroup-left-y"] = told["rules"].pop("regroup-right-y")
    told["steps"][0]["rule"] = "regroup-left-y"
    told["digest"] = digest({name: part for name, part in told.items() if name != "digest"})
    assert check(told) == 1
    renamed = Explanation(explanation.result, Proof(told))
    assert renamed.check() == "the certificate tells another law as the rule regroup-left-y"


def test_laws_of_class_finite_are_compared_where_their_left_side_is_finite() -> None:
    def undone(a: Any, b: Any, v: Any) -> Any:
        return jnp.exp(jnp.log(v)) + b @ v

    found = planned(undone, numerics="finite").explain()
    assert found.check() == ""
    assert found.certificate["rules"]["exp-of-log"][3:] == ["finite"]
    told = json.loads(found.to_json())
    del told["rules"]["exp-of-log"][3]
    told["digest"] = digest({name: part for name, part in told.items() if name != "digest"})
    with pytest.raises(CertificateError, match="differ on random values"):
        check(told)
