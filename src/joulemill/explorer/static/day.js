// A day: the server plays it, two plots with one zoom show it, with and without the cut.
import { element } from "/shared/dom.js";
import { digits, quantity } from "/shared/figures.js";

const $ = (id) => document.getElementById(id);
const FIELDS = ["rate", "duration", "shape", "cut", "policy"];
const HEIGHT = 210;
let plots = [], shown = null;

export function listenDay(ask) {
  $("day-play").addEventListener("click", () => play(ask));
  for (const id of ["day-rate", "day-duration", "day-cut"]) $(id).addEventListener("keydown", (e) => { if (e.key === "Enter") play(ask); });
  addEventListener("resize", () => plots.forEach((p) => p.setSize({ width: p.root.parentElement.clientWidth, height: HEIGHT })));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { if (shown) draw(shown); });
}

async function play(ask) {
  for (const name of ["rate", "duration", "cut"]) $(`day-${name}-error`).textContent = "";
  $("day-line").textContent = "Playing …";
  $("day-play").disabled = true;
  const texts = new URLSearchParams(FIELDS.map((name) => [`day.${name}`, $(`day-${name}`).value.trim()]).filter(([, v]) => v));
  const answer = await ask(texts);
  $("day-play").disabled = false;
  if (!answer) return;
  if (answer.error) { fault(answer.error); return; }
  shown = answer;
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
  const times = answer.series[names[0]].t_s;
  plots = [["day-power", `${answer.scope}_w`, "W"], ["day-tokens", "output_tok_s", "tok/s"]].map(([id, column, unit]) => {
    const box = $(id), ink = style.getPropertyValue("--quiet"), line = style.getPropertyValue("--line");
    const axis = { stroke: ink, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 } };
    const data = [times, ...names.map((n) => times.map((_, i) => answer.series[n][column][i] ?? null))];
    return new uPlot({
      width: box.clientWidth, height: HEIGHT, legend: { show: false }, cursor: { y: false, sync: { key: "day" } },
      hooks: { setScale: [zoom], drawClear: [(u) => windows(u, answer.events, style.getPropertyValue("--stave"))] },
      scales: { x: { time: false }, y: { range: (_, low, high) => [0, (high > 0 ? high : 1) * 1.08] } },
      axes: [{ ...axis, incrs: [60, 300, 900, 1800, 3600, 7200, 10800, 21600], values: (_, ticks) => ticks.map(clock) }, { ...axis, size: 62, values: (_, ticks) => ticks.map((v) => quantity(v, "")) }],
      series: [{}, ...names.map((n, i) => ({ label: `${n} ${unit}`, stroke: style.getPropertyValue(`--l${i}`), width: 1.4, points: { show: false } }))],
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

function table(answer) {
  const widest = answer.power[`${answer.scope}_w`], joules = answer.energy[`${answer.scope}_j_tok`];
  const rows = [
    ["J/token", `${quantity(joules.value, "J/tok")} (${quantity(joules.low, "J/tok")} to ${quantity(joules.high, "J/tok")}, ${joules.basis})`],
    ["Power", `mean ${quantity(widest.mean, "W")}, p95 ${quantity(widest.p95, "W")}, peak ${quantity(widest.peak, "W")}`],
    ...["ttft_s", "tpot_s", "e2e_s"].map((n) => [n.replace("_s", "").toUpperCase(), ["mean", "p50", "p90", "p99"].map((p) => `${p} ${quantity(answer.latency[n][p], "s")}`).join(", ")]),
    ["Requests", `${digits(answer.requests.completed)} of ${digits(answer.requests.offered)} completed, ${digits(answer.requests.rejected)} rejected`],
    ...answer.policies.filter((p) => p.policy !== "none").map((p) => [`The cut, ${p.policy}`, `${p.kept ? "kept" : "not kept"}: ${quantity(p.window_w, "W")} of ${quantity(p.limit_w, "W")}; ${digits(p.lost_tok)} output tokens fewer; TTFT p99 ${quantity(p.ttft_p99_s, "s")}`]),
  ];
  $("day-table").replaceChildren(...rows.map(([name, text]) => {
    const row = element("tr"), title = element("th", "", name);
    title.scope = "row";
    row.append(title, element("td", "", text));
    return row;
  }));
}
