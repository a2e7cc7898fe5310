"""A section for a Hugging Face model card. Pure.

The card's ``co2_eq_emissions`` field is not written: it is defined for training (hub-docs, model cards), and inference
emissions under that name would be read as training's.
"""

from __future__ import annotations

from joulemill.analysis import rows
from joulemill.analysis.report import Report
from joulemill.figure import Figure
from joulemill.reports.markdown_latex import cell
from joulemill.wording import interval, quantity, title


def model_card(report: Report) -> str:
    """The section as Markdown: figures with interval and basis, conditions, and what is unknown."""
    energy, power, output = report.energy, report.power, report.output
    table: list[tuple[str, Figure]] = [
        ("Energy per output token, devices", energy.device_j_tok),
        ("Energy per output token, node", energy.node_j_tok),
        ("Energy per output token, site (PUE applied)", energy.site_j_tok),
        ("Energy per correct answer", energy.correct_answer_j),
        ("PUE-adjusted power", power.site_w),
        ("Output rate", output.rate_tok_s),
        ("Utilization-adjusted output", output.utilization_adjusted_tok_s),
        ("Carbon per output token", energy.carbon_gco2e_tok),
        ("Accuracy", report.quality.accuracy),
    ]
    lines = ["## Energy of inference", "", f"{cell(rows.headline(report))}. {cell(rows.subtitle(report))}", ""]
    lines += ["| figure | value | 95 % interval | basis |", "|---|--:|---|---|"]
    for name, figure in table:
        text = quantity(figure.value, figure.unit) if figure.known else f"unknown: {figure.reason or 'not text'}"
        lines.append(f"| {name} | {cell(text)} | {interval(figure) or '–'} | {figure.basis or '–'} |")
    ttft, tpot = (rows.milliseconds(p) for p in (report.latency.ttft_s, report.latency.tpot_s))
    lines += ["", f"Latency, p50 / p99: TTFT {ttft[0]} / {ttft[2]} ms, TPOT {tpot[0]} / {tpot[2]} ms."]
    lines += [f"Active constraint: {title(report.binding.name)}. {cell(report.binding.explanation)}", ""]
    lines += ["| condition | value |", "|---|---|"]
    lines += [f"| {cell(k)} | {cell(v)} |" for k, v in [*rows.conditions(report), *rows.meters(report)]]
    lines += ["", f"Measured by Joulemill, report schema {report.schema_version}, run {report.run_id}."]
    return "\n".join(lines) + "\n"
