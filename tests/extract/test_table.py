# SPDX-License-Identifier: Apache-2.0
"""Tables: what is refused, JSON, and the helpers that read a choice."""

from math import inf, nan
from pathlib import Path

import pytest

from egraph_opt.errors import ExtractionError
from egraph_opt.extract import EXTRACTORS, Table, evaluate, extract, load_table, selected

DATA = Path(__file__).parent.parent / "data" / "egraphs"


@pytest.mark.parametrize(
    ("nodes", "roots", "message"),
    [
        ([(0, -1.0, ())], [0], "node 0: cost is -1.0; want a finite number >= 0"),
        ([(0, 1.0, ()), (0, inf, ())], [0], "node 1: cost is inf; want"),
        ([(0, nan, ())], [0], "node 0: cost is nan; want"),
        ([(2, 1.0, ())], [0], "node 0: class is 2; want 0 <= class < 2"),
        ([(0, 1.0, (2,))], [0], r"node 0: children are \[2\]; want 0 <= child < 2"),
        ([(0, 1.0, (-1,))], [0], r"node 0: children are \[-1\]; want"),
        ([(0, 1.0, ())], [5], "root is 5; want 0 <= root < 2"),
    ],
)
def test_malformed_tables_are_refused(nodes, roots, message):
    with pytest.raises(ExtractionError, match=message):
        Table(nodes, roots, 2)


@pytest.mark.parametrize("name", EXTRACTORS)
def test_roots_without_derivation_are_refused(name):
    circle = Table([(0, 1.0, (1,)), (1, 1.0, (0,))], [0], 2)
    with pytest.raises(ExtractionError, match=r"no acyclic choice: root classes \[0\]"):
        EXTRACTORS[name].function(circle)


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"classes": 1, "roots": [0], "nodes": [[0]]}', '{"classes": "x"}'])
def test_malformed_json_is_refused(text, tmp_path):
    path = tmp_path / "table.json"
    path.write_text(text)
    with pytest.raises(ExtractionError, match="want keys classes, roots, nodes") as caught:
        load_table(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_missing_file_is_refused(tmp_path):
    with pytest.raises(ExtractionError, match=r"nothing\.json"):
        load_table(tmp_path / "nothing.json")


def test_json_round_trip():
    table = load_table(DATA / "nest24_8_20000_1.0_01.json")
    again = Table.from_json(table.to_json())
    assert again.nodes == table.nodes
    assert (again.roots, again.size) == (table.roots, table.size)


def test_labels_and_repeated_children_survive():
    table = Table([(0, 1.0, (), "x"), (1, 2.0, (0, 0), "mul")], [1, 1], 2)
    assert table.nodes[1].children == (0, 0)
    assert table.nodes[1].op == "mul"
    assert table.kids[1] == (0,)
    assert table.roots == (1,)


def test_evaluate_pays_shared_nodes_once():
    table = Table([(0, 5.0, ()), (1, 1.0, (0,)), (2, 1.0, (0, 1))], [2, 1], 3)
    assert evaluate(table, (0, 1, 2)) == 7.0
    assert selected(table, (0, 1, 2)) == [0, 1, 2]


def test_evaluate_knows_incomplete_and_cyclic_choices():
    table = Table([(0, 1.0, (1,)), (1, 1.0, (0,)), (1, 9.0, ())], [0], 2)
    assert evaluate(table, (0, None)) is None
    assert evaluate(table, (0, 1)) is None
    assert evaluate(table, (0, 2)) == 10.0


def test_a_node_that_reads_its_own_class_is_never_used():
    table = Table([(0, 0.0, (0,)), (0, 3.0, ())], [0], 1)
    assert extract(table).choice == (1,)


def test_empty_and_free_tables():
    assert extract(Table([], [], 0)).cost == 0.0
    free = extract(Table([(0, 0.0, ()), (1, 0.0, (0,))], [1], 2))
    assert (free.choice, free.cost, free.gap) == ((0, 1), 0.0, 0.0)
