// A day: the server simulates it, two plots with one zoom show it, with and without the cut.
import { element } from "/static/dom.js";
import { amount, digits, ends, percent, quantity } from "/static/figures.js";

import { hold } from "/explorer/copying.js";
import { onDrop } from "/explorer/dropping.js";

const $ = (id) => document.getElementById(id);
const FIELDS = ["rate", "duration", "shape", "cut", "policy"];
const HEIGHT = 210;
let plots = [], shown = null, trace = null; // trace: { name, text } that was dropped

// What the fields say is part of the page's address: `view`, kept by `remember`.
export function listenDay(view, remember, ask) {
  for (const name of FIELDS) {
    const input = $(`day-${name}`), first = input.value;
    if (view[`day.${name}`] !== undefined) input.value = view[`day.${name}`];
    input.addEventListener("input", () => { view[`day.${name}`] = input.value === first ? "" : input.value; remember(); });
  }
  $("day-play").addEventListener("click", () => play(ask));
  for (const id of ["day-rate", "day-duration", "day-cut"]) $(id).addEventListener("keydown", (e) => { if (e.key === "Enter") play(ask); });
  $("day-trace").addEventListener("change", () => { take($("day-trace").files[0]); $("day-trace").value = ""; });
  onDrop($("day-drop"), (transfer) => take(transfer.files[0]));
  $("day-generate").addEventListener("click", () => use(null));
  use(null);
  addEventListener("resize", () => plots.forEach((p) => p.setSize({ width: p.root.parentElement.clientWidth, height: HEIGHT })));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { if (shown) draw(shown); });
}

async function take(file) {
  if (file) use({ name: file.name, text: await file.text() });
}

// The traffic is a trace, or generated: what is only of the other is closed.
function use(chosen) {
  trace = chosen;
  for (const id of ["day-rate", "day-shape"]) $(id).disabled = Boolean(trace);
  $("day-generate").hidden = !trace;
  $("day-trace-name").textContent = trace ? `Trace: ${trace.name}` : "";
  $("day-trace-error").textContent = "";
}

async function play(ask) {
  for (const name of ["rate", "duration", "cut", "trace"]) $(`day-${name}-error`).textContent = "";
  $("day-line").textContent = "Simulating …";
  $("day-play").disabled = true;
  const texts = new URLSearchParams(FIELDS.map((name) => [`day.${name}`, $(`day-${name}`).disabled ? "" : $(`day-${name}`).value.trim()]).filter(([, v]) => v));
  if (trace) texts.set("name", trace.name);
  const answer = await ask(texts, trace ? trace.text : null);
  $("day-play").disabled = false;
  if (!answer) return;
  if (answer.error) { fault(answer.error); return; }
  shown = answer;
  hold("day", [answer.copy]);
  draw(answer);
}

function fault(error) {
  const place = error.field.startsWith("day.") && $(`day-${error.field.slice(4)}-error`);
  if (place) { place.textContent = error.message; $("day-line").textContent = "A value cannot be used; see the field."; } else $("day-line").textContent = error.message;
}

function draw(answer) {
  const names = Object.keys(answer.series), style = getComputedStyle(document.documentElement);
  $("day-line").textContent = [answer.line, ...answer.doubts].join(". ");
  $("day-plots").hidden = false;
  $("day-scope").textContent = `(${answer.scope})`;
  plots.forEach((p) => p.destroy());
  const zoom = (u, key) => { if (key === "x") for (const p of plots) if (p !== u && (p.scales.x.min !== u.scales.x.min || p.scales.x.max !== u.scales.x.max)) p.setScale("x", { min: u.scales.x.min, max: u.scales.x.max }); };
  const kinds = [["day-power", answer.series, `${answer.scope}_w`, "W"], ["day-tokens", answer.series, "output_tok_s", "tok/s"], ["day-ttft", answer.latency_series, "ttft_s", "s"], ["day-tpot", answer.latency_series, "tpot_s", "s"]];
  plots = kinds.map(([id, series, column, unit]) => {
    const box = $(id), ink = style.getPropertyValue("--quiet"), line = style.getPropertyValue("--line"), times = series[names[0]].t_s;
    const axis = { stroke: ink, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 } };
    const data = [times, ...names.map((n) => times.map((_, i) => series[n][column][i] ?? null))];
    return new uPlot({
      width: box.clientWidth, height: HEIGHT, legend: { show: false }, cursor: { y: false, sync: { key: "day" } },
      hooks: { setScale: [zoom], drawClear: [(u) => windows(u, answer.events, style.getPropertyValue("--stave"))] },
      scales: { x: { time: false }, y: { range: (_, low, high) => [0, (high > 0 ? high : 1) * 1.08] } },
      axes: [{ ...axis, incrs: [60, 300, 900, 1800, 3600, 7200, 10800, 21600], values: (_, ticks) => ticks.map(clock) }, { ...axis, size: 62, values: (_, ticks) => ticks.map((v) => quantity(v, unit === "s" ? "s" : "")) }],
      series: [{}, ...names.map((n, i) => ({ label: `${n} ${unit}`, stroke: style.getPropertyValue(`--l${i}`), width: 1.4, spanGaps: unit === "s", points: { show: false } }))],
    }, data, box);
  });
  $("day-legend").replaceChildren(...names.map((n, i) => {
    const item = element("li"), mark = element("i");
    mark.style.color = style.getPropertyValue(`--l${i}`);
    item.append(mark, element("span", "", n === "none" ? "as it comes" : `with the cut: ${n}`));
    return item;
  }));
  table(answer);
}

// The time of each event, behind the lines.
function windows(plot, events, paint) {
  const { ctx, bbox } = plot;
  ctx.save();
  ctx.globalAlpha = 0.22;
  ctx.fillStyle = paint;
  for (const e of events) {
    const from = Math.max(plot.valToPos(e.start_s, "x", true), bbox.left), to = Math.min(plot.valToPos(e.end_s, "x", true), bbox.left + bbox.width);
    if (to > from) ctx.fillRect(from, bbox.top, to - from, bbox.height);
  }
  ctx.restore();
}

const clock = (s) => `${String(Math.floor(s / 3600)).padStart(2, "0")}:${String(Math.floor((s % 3600) / 60)).padStart(2, "0")}`;

// Every figure with its basis and its interval, or that it has none.
const SCOPES = [["device", "devices"], ["node", "nodes"], ["site", "site"]];
const NONE = "no interval";

function table(answer) {
  const rows = [
    ...SCOPES.map(([s, name]) => figure(`Energy, ${name}`, answer.energy[`${s}_j_tok`], "J/tok")),
    figure("Output rate", answer.output.rate_tok_s, "tok/s"), figure("Utilization U", answer.output.utilization, "1"),
    ...SCOPES.flatMap(([s, name]) => power(name, answer.power[`${s}_w`])),
    ...[["ttft_s", "TTFT"], ["tpot_s", "TPOT"], ["e2e_s", "End to end"]].flatMap(([n, name]) => latency(name, answer.latency[n])),
    ["Requests", `${whole(answer.requests.completed)} of ${whole(answer.requests.offered)} completed, ${whole(answer.requests.rejected)} rejected`, "modelled", "counted in this simulation"],
    ...answer.policies.filter((p) => p.policy !== "none").flatMap((p) => policy(p, answer.events[0])),
  ];
  const head = element("tr");
  for (const name of ["Figure", "Value", "Basis", "80 % interval"]) { const c = element("th", "", name); c.scope = "col"; head.append(c); }
  $("day-table").replaceChildren(head, ...rows.map(([name, text, basis, between]) => {
    const row = element("tr"), title = element("th", "", name), value = element("td"), known = element("td");
    title.scope = "row";
    value.append(element("b", "", text));
    if (basis) known.append(element("span", `basis ${basis}`, basis));
    row.append(title, value, known, element("td", "", between));
    return row;
  }));
  $("day-notes").replaceChildren(...answer.notes.map((n) => element("li", "", n)));
}

const whole = (x) => x.toLocaleString("en");
const said = (x, unit) => (unit === "1" ? percent(x) : amount(x, unit));
const bounds = (low, high, unit) => (low === null || low === undefined || high === null ? NONE : ends(said(low, unit), said(high, unit)));

function figure(name, f, unit) {
  return f.value === null ? [name, "–", "", f.reason || "not known"] : [name, said(f.value, unit), f.basis, bounds(f.low, f.high, unit)];
}

function power(name, p) {
  if (!p) return [[`Power, ${name}`, "–", "", "not known"]];
  return [
    [`Mean power, ${name}`, quantity(p.mean, "W"), p.basis, bounds(p.mean_low, p.mean_high, "W")],
    [`Power p95, peak, ${name}`, `${quantity(p.p95, "W")}, ${quantity(p.peak, "W")}`, p.basis, NONE],
  ];
}

// Percentiles are of the requests of this play; intervals are from plays of the same traffic with other errors.
function latency(name, l) {
  return ["mean", "p50", "p99"].map((p) => {
    const pair = l.interval && l.interval[p];
    return [`${name} ${p}`, quantity(l[p], "s"), l.basis, pair ? bounds(pair[0], pair[1], "s") : NONE];
  });
}

function policy(p, event) {
  const name = `Cut by ${p.policy}`;
  return [
    [`${name}: limit`, p.kept ? "kept" : "not kept", "modelled", `${quantity(p.window_w, "W")} of ${quantity(p.limit_w, "W")} (mean of the event)`],
    [`${name}: output tokens fewer`, digits(p.lost_tok), "modelled", NONE],
    [`${name}: TTFT p99`, quantity(p.ttft_p99_s, "s"), "modelled", `${NONE}; the cut is from ${clock(event.start_s)} to ${clock(event.end_s)}`],
  ];
}
