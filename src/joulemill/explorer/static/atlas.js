// The atlas: choose what is drawn of the data in this file.
import { element } from "/static/dom.js";
import { DASH, amount, digits, ends, quantity } from "/static/figures.js";
import { AXES, drawPlane, factsOf, nearest, showPoint, widen } from "/explorer/plane.js";

const $ = (id) => document.getElementById(id);
const atlas = JSON.parse($("data").textContent);
const COLORS = 8;
let shownEntries = [], drawn = null, cursor = null;

const lengthsOf = (e) => `${e.input_tokens} in, ${e.output_tokens} out`;
const precisionOf = (e) => e.precision || "as released";
const nameOf = (e) => `${e.devices || DASH} × ${e.device}`;

function fill(id, values) {
  $(id).replaceChildren(...[...new Set(values)].map((v) => { const o = element("option", "", v); o.value = v; return o; }));
  $(id).addEventListener("change", () => { cursor = null; draw(); });
}

function draw() {
  const own = atlas.entries.filter((e) => e.model === $("model").value && precisionOf(e) === $("precision").value && lengthsOf(e) === $("lengths").value);
  shownEntries = own.filter((e) => e.points).slice(0, COLORS);
  widen($("plane").clientWidth);
  drawn = drawPlane({ x: $("x").value, y: $("y").value, log: $("log").checked, bands: $("bands").checked, curves: shownEntries, models: shownEntries.map((e) => e.model), groups: [], slo: {}, names: shownEntries.map(nameOf), cursor });
  $("plane").replaceChildren(drawn.picture);
  $("legend").replaceChildren(...shownEntries.map((e, i) => {
    const item = element("li"), mark = element("i");
    mark.style.color = `var(--l${i})`;
    item.append(mark, element("span", "", nameOf(e)));
    return item;
  }));
  tabled(own);
}

function tabled(own) {
  const head = element("tr");
  for (const text of ["Device", "J/token, nodes", "80 % interval", "Concurrency", "tok/s", "TPOT", "TTFT"]) { const cell = element("th", "", text); cell.scope = "col"; head.append(cell); }
  const rows = own.map((e) => {
    const row = element("tr");
    if (!e.points) { const why = element("td", "quiet", e.why); why.colSpan = 6; row.append(element("td", "", e.device), why); return row; }
    const j = e.points.node_j_tok.map((v) => v ?? Infinity), i = j.indexOf(Math.min(...j)), at = (c) => e.points[c][i];
    const texts = [nameOf(e), amount(at("node_j_tok"), "J/tok"), ends(amount(at("node_j_tok_low"), "J/tok"), amount(at("node_j_tok_high"), "J/tok")), digits(at("concurrency")), digits(at("rate_tok_s")), quantity(at("tpot_s"), "s"), quantity(at("ttft_s"), "s")];
    row.append(...texts.map((t) => element("td", "", t)));
    return row;
  });
  $("table").replaceChildren(head, ...rows);
}

function walk(event) {
  const move = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
  if (!move || !shownEntries.length) return;
  event.preventDefault();
  const line = cursor ? (cursor.line + move[0] + shownEntries.length) % shownEntries.length : 0;
  const count = drawn.lines[line].points.length;
  cursor = { line, point: Math.min(Math.max((cursor ? cursor.point : 0) + move[1], 0), count - 1) };
  tell();
}

function tell() {
  draw();
  showPoint($("readout"), factsOf(drawn.lines[cursor.line].points[cursor.point], drawn.lines, shownEntries.map(nameOf)), element);
}

function hover(event) {
  const best = nearest(drawn, event);
  if (best && (cursor?.line !== best.line || cursor?.point !== best.point)) { cursor = best; tell(); }
}

fill("model", atlas.entries.map((e) => e.model));
fill("precision", atlas.entries.map(precisionOf));
fill("lengths", atlas.entries.map(lengthsOf));
for (const [id, axis] of [["x", "tpot_s"], ["y", "node_j_tok"]]) {
  $(id).replaceChildren(...Object.entries(AXES).filter(([name]) => name !== "site_j_tok").map(([value, [text]]) => { const o = element("option", "", text); o.value = value; return o; }));
  $(id).value = axis;
}
for (const id of ["x", "y", "log", "bands"]) $(id).addEventListener("change", draw);
$("plane").addEventListener("keydown", walk);
$("plane").addEventListener("pointermove", hover);
addEventListener("resize", draw);
$("about").textContent = `${atlas.entries.filter((e) => e.points).length} deployments, modelled by Joulemill ${atlas.version}; 80 % intervals`;
draw();
