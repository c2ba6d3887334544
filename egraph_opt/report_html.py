# SPDX-License-Identifier: Apache-2.0
"""The report as one HTML page that stands alone: no script, no font, no picture from elsewhere.

Written beside the optimised model by ``egraph-opt optimize --report``; light or dark as the reader's system is, and
readable on a phone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape

from egraph_opt.report import Report, duration, times

STYLE = """
:root { --paper: #fbfbf9; --card: #ffffff; --ink: #1d2430; --soft: #626b7a; --line: #e3e5e9; --good: #0f7b4f;
  --goodpaper: #e6f4ed; --calm: #4a5568; --calmpaper: #eef0f3; --warn: #8a5a00;
  --c0: #4e79a7; --c1: #3a9188; --c2: #d98e32; --c3: #8c6bb1; --c4: #c4586b; --c5: #7f8893; --c6: #b9bfc8; }
@media (prefers-color-scheme: dark) { :root { --paper: #14171c; --card: #1c2027; --ink: #e6e9ee; --soft: #98a1b0;
  --line: #2e343e; --good: #5fd3a0; --goodpaper: #173229; --calm: #b5bdca; --calmpaper: #252a33; --warn: #e0b35a;
  --c0: #6f9bc9; --c1: #52b3a9; --c2: #e0a458; --c3: #a88bd0; --c4: #da7b8b; --c5: #98a1ac; --c6: #4b525e; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); line-height: 1.5;
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 54rem; margin: 0 auto; padding: 2rem 1.25rem 3rem; }
header p { margin: 0; color: var(--soft); }
h1 { font-size: 1.35rem; margin: 0 0 .15rem; overflow-wrap: anywhere; }
h2 { font-size: .8rem; letter-spacing: .06em; text-transform: uppercase; color: var(--soft); margin: 0 0 .75rem; }
section { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; padding: 1.1rem 1.25rem;
  margin-top: 1rem; }
.verdict { background: var(--calmpaper); border-color: transparent; color: var(--calm); }
.verdict.gain { background: var(--goodpaper); color: var(--good); }
.verdict strong { display: block; font-size: 1.9rem; line-height: 1.2; letter-spacing: -.01em; }
.verdict p { margin: .35rem 0 0; color: var(--ink); }
.verdict dl { grid-template-columns: max-content 1fr; gap: .2rem 1rem; margin-top: .6rem; color: var(--ink); }
.verdict dd { font-variant-numeric: tabular-nums; margin: 0; }
.verdict dd i { display: inline-block; height: .7rem; border-radius: .15rem; margin-right: .5rem; min-width: 2px;
  background: var(--good); }
.verdict dd:first-of-type i { background: var(--calm); opacity: .55; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .4rem .6rem; text-align: right; border-top: 1px solid var(--line); white-space: nowrap; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
th:last-child, td:last-child { padding-right: 0; }
thead th { border-top: 0; color: var(--soft); font-weight: 500; font-size: .85rem; padding-top: 0; }
tbody th { font-weight: 500; }
.bar { display: flex; height: 1.1rem; border-radius: .3rem; overflow: hidden; background: var(--line); }
.bar i { display: block; min-width: 1px; }
.key { list-style: none; display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; margin: .8rem 0 0; padding: 0;
  font-size: .9rem; }
.key i { display: inline-block; width: .7rem; height: .7rem; border-radius: .15rem; margin-right: .4rem; }
.key b { font-weight: 500; font-variant-numeric: tabular-nums; margin-left: .35rem; }
.rules td:first-child, code { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; font-size: .9em; }
.count { position: relative; width: 55%; text-align: left; padding-left: .6rem; }
.count i { display: inline-block; height: .65rem; border-radius: .15rem; background: var(--c0); margin-right: .5rem;
  vertical-align: baseline; }
ul.plain { margin: 0; padding-left: 1.1rem; }
ul.plain li + li { margin-top: .35rem; }
li, dd { overflow-wrap: anywhere; }
details + details { margin-top: .5rem; } summary { cursor: pointer; overflow-wrap: anywhere; }
pre { white-space: pre-wrap; margin: .3rem 0; font: .82rem/1.45 ui-monospace, SFMono-Regular, Menlo, monospace; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .35rem 1.2rem; margin: 0; }
dt { color: var(--soft); } dd { margin: 0; }
.note { color: var(--soft); font-size: .9rem; margin: .8rem 0 0; }
footer { color: var(--soft); font-size: .85rem; margin-top: 1.5rem; }
@media (max-width: 34rem) { main { padding: 1.25rem .8rem 2rem; } section { padding: .9rem; }
  .verdict strong { font-size: 1.5rem; } th, td { padding: .35rem .4rem; font-size: .9rem; }
  .terms { grid-template-columns: 1fr; gap: 0; } .terms dd { margin-bottom: .5rem; } }
"""


def page(report: Report, explanation: str = "") -> str:
    """A whole HTML document.

    Args:
        report: what to show; every text of it is escaped.
        explanation: HTML of the changed parts, see ``Explanation.to_html``.
    """
    title = f"{report.name}: {report.headline}"
    parts = [
        f"<header><h1>{escape(report.name)}</h1><p>optimised for {escape(report.device)}</p></header>",
        _verdict(report),
        _before_after(report),
        _rules(report),
        f"<section><h2>What changed and why</h2>{explanation}</section>" if explanation else "",
        _list("Candidates that were not chosen", report.rejected),
        _list("Notes", report.notes),
        _spent(report),
        _conditions(report),
        "<footer>Written by egraph_opt. Arithmetic and memory traffic are counted on the program, once per fused"
        " kernel; times are medians of interleaved runs of compiled programs.</footer>",
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(part for part in parts if part)
        + "\n</main>\n</body>\n</html>\n"
    )


def _verdict(report: Report) -> str:
    if not report.improved:
        head = "No gain found: the original is kept"
    elif report.speedup is None:
        head = "Rewritten, but not timed"
    else:
        head = f"{times(report.speedup)} as fast"
    if not report.improved or report.speedup is None:
        text = escape(f"{report.decision[:1].upper()}{report.decision[1:]}.")
        return f'<section class="verdict"><strong>{escape(head)}</strong><p>{text}</p></section>'
    slowest = max(report.seconds_before or 0.0, report.seconds_after or 0.0)
    bars = "".join(
        f'<dt>{name}</dt><dd><i style="width:{78 * (seconds or 0.0) / slowest:.1f}%"></i>{duration(seconds)}</dd>'
        for name, seconds in (("original", report.seconds_before), ("now", report.seconds_after))
    )
    text = escape(f"Time of one call, measured on {report.device}.")
    return f'<section class="verdict gain"><strong>{escape(head)}</strong><p>{text}</p><dl>{bars}</dl></section>'


def _before_after(report: Report) -> str:
    rows = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{escape(before)}</td><td>{escape(after)}</td>'
        f"<td>{escape(gain)}</td></tr>"
        for name, before, after, gain in report.rows()
    )
    return (
        '<section><h2>Before and after</h2><div class="scroll"><table><thead><tr><th></th>'
        '<th scope="col">original</th><th scope="col">chosen</th><th scope="col">ratio</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div></section>"
    )


def _rules(report: Report) -> str:
    fired = report.fired()
    if not fired:
        return ""
    most = fired[0][1]
    rows = "".join(
        f'<tr><td>{escape(name)}</td><td class="count"><i style="width:{70 * count / most:.1f}%"></i>{count}</td></tr>'
        for name, count in fired
    )
    return (
        '<section><h2>Rules in the chosen program</h2><table class="rules"><tbody>'
        f'{rows}</tbody></table><p class="note">How many operations of the chosen program each rule made.</p></section>'
    )


def _list(title: str, texts: Sequence[str]) -> str:
    if not texts:
        return ""
    items = "".join(f"<li>{escape(text)}</li>" for text in texts)
    return f'<section><h2>{escape(title)}</h2><ul class="plain">{items}</ul></section>'


def _spent(report: Report) -> str:
    spent = report.spent()
    other = report.seconds_total - math.fsum(seconds for _, seconds in spent)
    parts = [*spent, ("other", max(other, 0.0))]
    total = math.fsum(seconds for _, seconds in parts)
    if total <= 0:
        return ""
    bars = "".join(
        f'<i style="width:{100 * seconds / total:.2f}%;background:var(--c{n})" title="{part} {duration(seconds)}"></i>'
        for n, (part, seconds) in enumerate(parts)
    )
    keys = "".join(
        f'<li><i style="background:var(--c{n})"></i>{part}<b>{duration(seconds)}</b></li>'
        for n, (part, seconds) in enumerate(parts)
    )
    return (
        f"<section><h2>Where the planning time went</h2>"
        f'<div class="bar">{bars}</div><ul class="key">{keys}</ul>'
        f'<p class="note">{duration(report.seconds_total)} in all.</p></section>'
    )


def _conditions(report: Report) -> str:
    gap = "not proven" if report.extraction_gap >= 1 else f"at most {report.extraction_gap:.2%} from the best"
    rows: list[tuple[str, str]] = [
        ("device", report.device),
        ("numerics", f"{report.numerics} ({NUMERICS.get(report.numerics, 'class of the rules that were allowed')})"),
        ("checked", _checked(report)),
        ("cost model", report.cost_model),
        ("search", f"{report.enodes:,} e-nodes; ended: {report.stop_reason or 'not run'}"),
        ("extraction", gap if report.enodes else "not run"),
    ]
    if report.noise is not None:
        rows.append(("noise", f"{report.noise:.1%} between two halves of the original's own runs"))
    if report.seconds_compile:
        rows.append(("compilation", ", ".join(_compiled(report.seconds_compile))))
    cells = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in rows)
    return f'<section><h2>Conditions</h2><dl class="terms">{cells}</dl></section>'


NUMERICS = {
    "exact": "bit-identical for every input",
    "reassociate": "equal over the reals, rounding may change",
    "finite": "equal unless infinities, NaN or overflow occur",
}


def _checked(report: Report) -> str:
    if not report.verified:
        return "no" if report.improved else "nothing to check"
    return "outputs compared with a float64 evaluation of the original"


def _compiled(seconds: Iterable[float]) -> list[str]:
    return [f"{'original' if n == 0 else f'candidate {n}'} {duration(s)}" for n, s in enumerate(seconds)]
