// Deployments side by side: one row per quantity, one column per deployment.
import { element } from "/static/dom.js";
import { DASH, amount, digits, ends, quantity, words } from "/static/figures.js";

const joules = (x) => amount(x, "J/tok");
const seconds = (x) => quantity(x, "s");
const ROWS = [
  ["Energy, devices", (a) => a.prediction.device_j_tok, joules],
  ["Energy, nodes", (a) => a.prediction.node_j_tok, joules],
  ["Energy, site", (a) => a.prediction.site && a.prediction.site.site_j_tok, joules, "state a PUE"],
  ["Token rate", (a) => a.prediction.rate_tok_s, (x) => `${digits(x)} tok/s`],
  ["Active constraint", null],
  ["Power, nodes", (a) => a.prediction.node_power_w, (x) => quantity(x, "W")],
  ["PUE-adjusted power", (a) => a.prediction.site && a.prediction.site.site_w, (x) => quantity(x, "W"), "state a PUE"],
  ["TTFT", (a) => a.prediction.ttft_s, seconds],
  ["TPOT", (a) => a.prediction.tpot_s, seconds],
  ["Φ, rate ÷ lowest ceiling", (a) => a.prediction.phi, digits],
  ["Output tok/s per MW", (a) => a.totals.tok_s_mw, digits],
  ["Wh per 1,000 requests", (a) => a.totals.thousand_requests.energy_wh, digits],
  ["gCO2e per 1,000 requests", (a) => a.totals.thousand_requests.carbon_gco2e, digits],
  ["Money per 1,000 requests", (a) => a.totals.thousand_requests.cost, (x, unit) => `${digits(x)} ${unit}`],
  ["Wh per million tokens", (a) => a.totals.million_tokens.energy_wh, digits],
  ["gCO2e per million tokens", (a) => a.totals.million_tokens.carbon_gco2e, digits],
  ["Money per million tokens", (a) => a.totals.million_tokens.cost, (x, unit) => `${digits(x)} ${unit}`],
];

export function drawTable(table, deployments, answers) {
  const head = element("thead"), top = element("tr"), body = element("tbody");
  const corner = element("th", "", "Figure");
  corner.scope = "col";
  top.append(corner);
  deployments.forEach((d, i) => {
    const cell = element("th", "", `${i + 1}: ${d.model || DASH} on ${d.devices || 1} × ${d.device || DASH}`);
    cell.scope = "col";
    cell.style.setProperty("--own", `var(--l${i})`);
    top.append(cell);
  });
  head.append(top);
  for (const [name, pick, show, without] of ROWS) {
    const row = element("tr"), title = element("th", "", name);
    title.scope = "row";
    row.dataset.row = name;
    row.append(title, ...deployments.map((_, i) => cell(answers[i], pick, show, without)));
    body.append(row);
  }
  body.append(notes(deployments, answers));
  table.replaceChildren(head, body);
}

function cell(answer, pick, show, without) {
  const box = element("td");
  if (!answer || !answer.prediction) { box.textContent = DASH; return box; }
  if (!pick) { box.append(element("b", "", words(answer.prediction.binding?.name) || DASH)); return box; }
  const figure = pick(answer);
  if (!figure || figure.value === null) {
    box.append(element("b", "", DASH), element("span", "range", figure ? figure.reason || "" : without || "not known"));
    return box;
  }
  const said = (x) => show(x, figure.unit), value = element("b", "", said(figure.value));
  value.title = `${figure.value} ${figure.unit}`;
  value.dataset.value = figure.value;
  box.append(value);
  box.append(element("span", `basis ${figure.basis}`, figure.basis));
  box.append(element("span", "range", figure.low === null || figure.high === null ? "no interval" : `(${ends(said(figure.low), said(figure.high))})`));
  return box;
}

function notes(deployments, answers) {
  const row = element("tr"), title = element("th", "", "Notes");
  title.scope = "row";
  row.append(title, ...deployments.map((_, i) => {
    const box = element("td", "small");
    for (const note of answers[i]?.prediction?.notes || []) box.append(element("p", "", note));
    if (answers[i]?.error) box.append(element("p", "bad", answers[i].error.message));
    return box;
  }));
  return row;
}
