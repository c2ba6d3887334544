# SPDX-License-Identifier: Apache-2.0
"""Rules made ready for a vocabulary, once: compiled text, and e-graphs that hold it already.

Compiling and declaring rules costs tens of milliseconds, far more than a small program needs after that. What depends
on rules and constructors alone is kept: a saturation leases an e-graph, fills it, and it is rewound on return.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache

from egraph_opt.engine.attributes import FUNCTIONS, AttributeFunction
from egraph_opt.engine.compile import Constructor, Program, active, compile_rules, mentioned
from egraph_opt.engine.encode import declarations, loaders
from egraph_opt.engine.rule import Rule, RuleSet
from egraph_opt.engine.session import Session
from egraph_opt.engine.splits import Split, splits_of
from egraph_opt.engine.words import ADD, EINSUM, vocabulary

KEPT = 6
"""E-graphs a thread keeps; each is empty but for its rules."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """Rules over the constructors of one program, and those that the rules make.

    Args:
        rules: that can ever fire.
        heads: everything that they mention.
        constructors: by name.
        program: the compiled rules.
        text: declarations and loading rules; the program's text comes after it and the facts' declarations.
        splits: sums that the rules look for.
    """

    rules: tuple[Rule, ...]
    heads: frozenset[str]
    constructors: dict[str, Constructor]
    program: Program
    text: str
    splits: tuple[Split, ...]


def prepare(
    rules: RuleSet, present: dict[str, Constructor], missing: frozenset[str] = frozenset(), count_unions: bool = False
) -> Prepared:
    """Compile the rules that can fire.

    Args:
        rules: all that are admitted.
        present: constructors of the program; products and sums count as present, so that more programs share
            one text.
        missing: facts that no tensor of the program has.
        count_unions: see ``compile_rules``.
    """
    core = {name: vocabulary()[name] for name in (ADD, *EINSUM.values())}
    own = tuple(sorted((present | core).items(), key=lambda item: item[0]))
    return _prepare(rules, own, missing, count_unions, frozenset(FUNCTIONS.values()))


@lru_cache(maxsize=64)
def spoken(rules: RuleSet) -> frozenset[str]:
    """Constructors of the vocabulary that rules mention."""
    words = vocabulary()
    return frozenset(h for rule in rules for part in mentioned(rule) for h in part if h in words)


@lru_cache(maxsize=64)
def _prepare(
    rules: RuleSet,
    present: tuple[tuple[str, Constructor], ...],
    missing: frozenset[str],
    count_unions: bool,
    functions: frozenset[AttributeFunction],  # what the text depends on, too
) -> Prepared:
    words = vocabulary()
    chosen = active(rules, {name for name, _ in present}, words, missing)
    heads = frozenset(h for rule in chosen for part in mentioned(rule) for h in part)
    constructors = dict(present)
    constructors |= {name: words[name] for name in sorted(heads & words.keys())}
    program = compile_rules(chosen, constructors, count_unions=count_unions)
    parts = (
        "(sort T) (ruleset load) (function node (i64) T :merge old)",
        declarations(constructors),
        loaders(constructors),
    )
    return Prepared(tuple(chosen), heads, constructors, program, "\n".join(parts), splits_of(chosen))


class _Kept(threading.local):
    """E-graphs at rest, by the text they hold; egglog ties each to the thread that made it."""

    def __init__(self) -> None:
        self.sessions: OrderedDict[str, Session] = OrderedDict()


_KEPT = _Kept()


def lease(text: str) -> Session:
    """An e-graph that has run ``text`` and nothing else.

    Raises:
        EngineError: egglog refuses the text.
    """
    session = _KEPT.sessions.pop(text, None)
    if session is None:
        session = Session()
        try:
            session.run(text)
        except BaseException:
            session.close()
            raise
    session.mark()
    return session


def give_back(text: str, session: Session) -> None:
    """Keep a leased e-graph for the next one who asks, unless something in it failed."""
    if not session.sound:
        session.close()
        return
    session.rewind()
    _KEPT.sessions[text] = session
    while len(_KEPT.sessions) > KEPT:
        _KEPT.sessions.popitem(last=False)[1].close()


def _forget() -> None:
    """In a forked process the folders belong to the parent."""
    for session in _KEPT.sessions.values():
        session.close.detach()
    _KEPT.sessions.clear()


os.register_at_fork(after_in_child=_forget)
