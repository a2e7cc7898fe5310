"""A report as Markdown and as a LaTeX table: the four figures that must be stated, beside quality and latency. Pure."""

from __future__ import annotations

import re

from joulemill.analysis import rows
from joulemill.analysis.report import Report
from joulemill.streams import printable
from joulemill.wording import digits, interval, percent, quantity, title

_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "–": "--",
    "Φ": r"$\Phi$",
    "µ": r"$\mu$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "\n": " ",
    "\r": " ",
    "\t": " ",
    "\ufffd": "?",
}
#: Whatever is markup in CommonMark or in GitHub's and Hugging Face's dialects of it: emphasis, links, images, tables,
#: HTML, code, struck-out text, formulas; and characters that end a line.
_MARKDOWN = str.maketrans(
    {c: f"\\{c}" for c in "\\*_[]{}|~$!"}
    | {"<": "&lt;", ">": "&gt;", "&": "&amp;", "`": "'", "@": "&#64;"}
    | dict.fromkeys("\n\r\t\v\f\x85\u2028\u2029", " ")
)
#: Addresses that a renderer would link by itself, and what would make a block at the start of a line.
_ADDRESS = re.compile(r"(?i)(?<=[a-z]):(?=//)|(?<=\bwww)\.|(?<=\bmailto):|(?<=\bxmpp):")
_BLOCK = re.compile(r"^(\s*)([#+\-=]|\d+[.)])")


def markdown(report: Report) -> str:
    """The report as Markdown: figures, ceilings, latency, conditions."""
    lines = [f"# {cell(rows.headline(report))}", "", cell(rows.subtitle(report)), ""]
    lines += [f"> **Warning:** {cell(w)}" for w in report.warnings]
    lines += ["", "| figure | value | 95 % interval | basis |", "|---|--:|---|---|"]
    for name, figure in rows.figures(report):
        text = quantity(figure.value, figure.unit) if figure.known else f"unknown: {figure.reason or ''}"
        lines.append(f"| {name} | {cell(text)} | {interval(figure)} | {figure.basis or '–'} |")
    binding = report.binding
    lines += ["", f"**Active constraint: {title(binding.name)}.** {cell(binding.explanation)}", ""]
    lines += ["| ceiling | tok/s | capacity | intensity | slack | basis | evidence |", "|---|--:|--:|--:|--:|---|---|"]
    for ceiling in report.ceilings:
        row = rows.ceiling_row(ceiling, binding.name)
        cells = [row[k] for k in ("name", "rate", "capacity", "intensity", "slack", "basis", "evidence")]
        lines.append("| " + " | ".join(cell(c) for c in cells) + " |")
    if effects := rows.impacts(report):
        lines += ["", f"| effect | {' | '.join(rows.IMPACT_COLUMNS)} |", "|---|--:|--:|--:|---|"]
        lines += [f"| {cell(name)} | {' | '.join(map(cell, cells))} |" for name, cells in effects]
        lines += ["", cell(rows.impact_sources(report))]
    lines += ["", "| latency [ms] | p50 | p90 | p99 | mean | n |", "|---|--:|--:|--:|--:|--:|"]
    lines += [f"| {n} | {' | '.join(rows.milliseconds(p))} |" for n, p in rows.latencies(report)]
    lines += ["", cell(rows.slo_text(report)), "", "| condition | value |", "|---|---|"]
    details = [*rows.conditions(report), *rows.tokens(report), *rows.meters(report)]
    lines += [f"| {cell(k)} | {cell(v)} |" for k, v in details]
    if report.stated:
        lines += [
            "",
            "Stated by the imported file, not measured here:",
            "",
            "| figure | value | caveat |",
            "|---|--:|---|",
        ]
        lines += [
            f"| {cell(name)} | {cell(quantity(f.value, f.unit))} | {cell(f.reason or '–')} |"
            for name, f in rows.stated(report)
        ]
    lines += ["", f"Joulemill schema {report.schema_version}, run {report.run_id}."]
    return "\n".join(lines) + "\n"


def cell(text: str) -> str:
    """``text`` that is text anywhere in a line of Markdown: no markup, link or control of others survives."""
    safe = printable(str(text).translate(_MARKDOWN))
    safe = _ADDRESS.sub(lambda m: f"&#{ord(m[0])};", safe)
    return _BLOCK.sub(lambda m: f"{m[1]}{m[2][:-1]}\\{m[2][-1]}", safe)


def latex(report: Report) -> str:
    """A ``tabular`` of the figures with interval and basis, ready to be input into a paper."""
    lines = [
        f"% Joulemill schema {report.schema_version}, run {report.run_id}",
        r"\begin{tabular}{lrll}",
        r"\hline",
        r"Figure & Value & 95\,\% interval & Basis \\",
        r"\hline",
    ]
    for name, figure in rows.figures(report):
        if figure.known:
            cells = [name, quantity(figure.value, figure.unit), interval(figure) or "--", str(figure.basis)]
            lines.append(" & ".join(tex(c) for c in cells) + r" \\")
    ttft, tpot = rows.milliseconds(report.latency.ttft_s), rows.milliseconds(report.latency.tpot_s)
    for name, cells in (("TTFT, p50 / p90 / p99 [ms]", ttft), ("TPOT, p50 / p90 / p99 [ms]", tpot)):
        lines.append(f"{name} & {tex(' / '.join(cells[:3]))} & & measured \\\\")
    lines += [f"Active constraint & {tex(title(report.binding.name))} & & \\\\", r"\hline", r"\end{tabular}"]
    return "\n".join(lines) + "\n"


#: What stands in the columns of ``latex_row``.
LATEX_COLUMNS = (
    "Model",
    "Hardware",
    "J/token, node",
    "J/token, site",
    "Constraint",
    "Site power",
    "Output",
    "Accuracy",
    "TTFT, p50",
    "TPOT, p50",
)


def latex_row(report: Report) -> str:
    """One table row under its heads as a comment: model, hardware, J/tok (node, site), constraint, site power, output,
    accuracy, TTFT, TPOT."""
    energy, power, output = report.energy, report.power, report.output
    latency = [p.p50 for p in (report.latency.ttft_s, report.latency.tpot_s)]
    cells = [
        report.conditions.model_name or "unknown",
        report.conditions.device or "unknown",
        *(quantity(f.value, f.unit) for f in (energy.node_j_tok, energy.site_j_tok)),
        title(report.binding.name),
        *(quantity(f.value, f.unit) for f in (power.site_w, output.utilization_adjusted_tok_s)),
        percent(report.quality.accuracy.value),
        *("--" if v is None else f"{digits(v * 1000)} ms" for v in latency),
    ]
    head = f"% {' & '.join(LATEX_COLUMNS)}; n = {report.requests.ok} requests, run {report.run_id}\n"
    return head + " & ".join(tex(c) for c in cells) + r" \\" + "\n"


def tex(text: str) -> str:
    """``text`` that is text anywhere in LaTeX: no command, comment or column of others survives."""
    return "".join(_LATEX.get(c, c) for c in printable(text))
