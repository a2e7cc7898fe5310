import { drawBarrel } from "/static/barrel.js";
import { element, svg } from "/static/dom.js";
import { digits, words } from "/static/figures.js";
import { Asker, MOST, fromHash, query, toHash } from "/explorer/asking.js";
import { datalists, deploymentForm, showFault, siteForm } from "/explorer/forms.js";
import { copy, hold, listenCopies } from "/explorer/copying.js";
import { listenDay } from "/explorer/day.js";
import { listenDrops } from "/explorer/dropping.js";
import { listenPlan } from "/explorer/plan.js";
import { AXES, drawPlane, factList, factsOf, nearest, showPoint, widen } from "/explorer/plane.js";
import { drawTable } from "/explorer/table.js";
import { bars, changeOf, drawLevers, outcome, refreshSliders, sensitivityNote, sliders } from "/explorer/whatif.js";

const $ = (id) => document.getElementById(id);
const asker = new Asker();
let options = null, state = fromHash(location.hash), answers = [], curves = [], measured = [], which = 0, cursor = null, drawn = null;
const full = []; // by deployment: the concurrency and the request rate at full load that a share of the load is of
const waiting = new Map();

const later = (name, run, ms = 40) => { clearTimeout(waiting.get(name)); waiting.set(name, setTimeout(run, ms)); };
const names = () => state.deployments.map((d, i) => `${i + 1}: ${d.model} on ${d.devices || 1} × ${d.device}`);

function remember() { history.replaceState(null, "", toHash(state)); }

function build() {
  $("deployments").replaceChildren(...state.deployments.map((d, i) => deploymentForm(i, d, options, {
    changed: (name, value) => { d[name] = value; if (name !== "rate") delete full[i]; choices(); remember(); refreshSliders($("sliders")); later(`d${i}`, () => load(i)); },
    copied: () => { if (state.deployments.length < MOST) { state.deployments.push({ ...d }); restart(); } },
    removed: () => { if (state.deployments.length > 1) { state.deployments.splice(i, 1); restart(); } },
  })));
  siteForm($("site"), options.site_keys, state.site, (key, value) => { state.site[key] = value; remember(); refreshSliders($("sliders")); later("site", loadAll); });
  $("add").disabled = state.deployments.length >= MOST;
  which = Math.min(which, state.deployments.length - 1);
  choices();
  sliders($("sliders"), read, write);
}

// Which deployment a card is of: one choice for all cards.
function choices() {
  for (const select of document.querySelectorAll(".which")) {
    select.replaceChildren(...state.deployments.map((d, i) => { const o = element("option", "", `${i + 1}: ${d.devices || 1} × ${d.device}`); o.value = i; return o; }));
    select.value = which;
  }
}

function restart() { full.length = 0; answers = []; curves = []; cursor = null; remember(); build(); loadAll(); }

// Where a slider's value stands: a site's key in the deployment's own site where it has one, else in the page's.
const own = (field) => !field.startsWith("site.") || Boolean(state.deployments[which][field]);

function read(field) {
  if (field === "utilization") return share();
  return (own(field) ? state.deployments[which][field] : state.site[field.slice(5)]) || "";
}

function write(field, value) {
  if (field === "utilization") { offer(which, parseFloat(value) / 100); return; }
  if (field === "concurrency") put("rate", "");
  if (!field.startsWith("site.")) delete full[which];
  put(field, value);
  if (own(field)) { const i = which; later(`d${i}`, () => load(i), 15); } else later("site", loadAll, 15);
}

function put(field, value) {
  const mine = own(field), input = $(mine ? `d${which}-${field}` : `site-${field.slice(5)}`);
  if (mine) state.deployments[which][field] = value; else state.site[field.slice(5)] = value;
  if (input) input.value = value;
  remember();
}

// The rate that is offered as a share of that at full load; without a rate the load is full.
function share() {
  const rate = parseFloat(state.deployments[which].rate);
  if (!rate) return "100 %";
  return full[which] ? `${Math.round((100 * rate) / full[which].rate_req_s)} %` : "";
}

// Offer a share of the rate at full load: of the concurrency that is stated, else of the highest that fits.
async function offer(i, ratio) {
  const d = state.deployments[i];
  if (!parseFloat(d.rate) || !full[i]) {
    const at = await asker.ask("full load", `/api/prediction?${query({ ...d, rate: "" }, state.site)}`);
    if (!at || at.error) return;
    full[i] = { concurrency: d.concurrency || "", rate_req_s: at.prediction.request_rate_req_s.value };
  }
  put("rate", ratio < 1 ? `${(ratio * full[i].rate_req_s).toPrecision(4)}req/s` : "");
  put("concurrency", ratio < 1 ? "" : full[i].concurrency);
  refreshSliders($("sliders"));
  later(`d${i}`, () => load(i), 15);
}

function loadAll() { state.deployments.forEach((_, i) => load(i)); }

async function load(i) {
  const asked = query(state.deployments[i], state.site), began = performance.now();
  const answer = await asker.ask(`prediction ${i}`, `/api/prediction?${asked}`);
  if (!answer) return;
  answers[i] = answer;
  showFault(i, answer.error || null);
  draw();
  $("state").textContent = answer.error ? "A value cannot be used; see the field." : `answered in ${Math.round(performance.now() - began)} ms`;
  if (answer.error) { curves[i] = null; drawCurves(); return; }
  later(`curve ${i}`, async () => {
    const curve = await asker.ask(`curve ${i}`, `/api/curve?${asked}`);
    if (curve) { curves[i] = curve.error ? null : curve; drawCurves(); }
  }, 120);
  if (i === which) later("sensitivity", loadSensitivity, 350);
}

async function loadSensitivity() {
  const s = await asker.ask("sensitivity", `/api/sensitivity?${query(state.deployments[which], state.site)}`);
  if (!s) return;
  $("sensitivity-note").textContent = s.error ? s.error.message : sensitivityNote(s);
  bars($("sensitivity"), s.error ? [] : s.rows.map(changeOf));
  hold("sensitivity", s.error ? [] : [s.copy]);
}

function draw() {
  drawTable($("table"), state.deployments, answers);
  hold("table", answers.map((a) => a?.copy));
  drawChosen();
}

function drawChosen() {
  const answer = answers[which];
  hold("chosen", [answer?.copy]);
  if (!answer || !answer.prediction) { $("barrel").replaceChildren(); $("whatif").textContent = answer?.error?.message || ""; $("cli").textContent = $("python").textContent = ""; return; }
  const p = answer.prediction;
  $("barrel").replaceChildren(p.ceilings ? drawBarrel(svg, {
    name: `deployment ${which + 1}`, device: state.deployments[which].device, binding: p.binding.name, tok_s: p.rate_tok_s.value,
    ceilings: p.ceilings.map((c) => [c.name, c.rate_tok_s.value, c.rate_tok_s.basis]),
  }) : "");
  for (const text of $("barrel").querySelectorAll("text")) text.textContent = text.textContent.replace(/^now /, "predicted ");
  ceilings(p.ceilings || []);
  $("unbind").replaceChildren(...answer.unbind.map((line) => element("li", "", line)));
  $("whatif").replaceChildren(element("p", "", answer.line), factList(outcome(answer), element));
  $("cli").textContent = answer.copy.cli;
  $("python").textContent = answer.copy.python;
}

// The ceilings in figures, the lowest first.
function ceilings(list) {
  const known = list.filter((c) => c.rate_tok_s.value).sort((a, b) => a.rate_tok_s.value - b.rate_tok_s.value);
  $("ceilings").replaceChildren(...known.map((c) => {
    const row = element("tr"), f = c.rate_tok_s, title = element("th", "", words(c.name)), value = element("td"), between = f.low === null || f.high === null ? "no interval" : `${digits(f.low)} to ${digits(f.high)} tok/s`;
    title.scope = "row";
    value.append(element("b", "", `${digits(f.value)} tok/s`), element("span", `basis ${f.basis}`, f.basis), element("span", "range", between));
    row.append(title, value);
    return row;
  }));
}

function slo() {
  const limits = { tpot_s: [], ttft_s: [] };
  for (const a of answers) for (const [axis, name] of [["tpot_s", "slo_tpot_s"], ["ttft_s", "slo_ttft_s"]]) {
    const limit = a?.prediction?.deployment?.[name];
    if (limit) limits[axis].push(limit);
  }
  return Object.fromEntries(Object.entries(limits).filter(([, l]) => l.length).map(([k, l]) => [k, Math.min(...l)]));
}

function drawCurves() {
  const x = $("x").value, y = $("y").value;
  widen($("plane").clientWidth);
  drawn = drawPlane({ x, y, log: $("log").checked, bands: $("bands").checked, curves: state.deployments.map((_, i) => curves[i]), models: state.deployments.map((d) => plainName(d.model || "")), groups: groups(), slo: slo(), names: names(), cursor });
  $("plane").replaceChildren(drawn.picture);
  hold("plane", curves.map((c) => c?.copy));
  legend();
  published();
}

// Measured points by where they are from: dropped ones, then those published of the models on the page.
function groups() {
  const shown = $("published").checked ? ofModels() : [];
  return [...measured, ...(shown.length ? [{ name: "published", published: true, points: shown }] : [])];
}

const plainName = (name) => name.toLowerCase().split("/").pop();
// Published runs of the models on the page, in the color of the first deployment on the same device.
function ofModels() {
  const same = (p) => state.deployments.map((d, i) => [d, i]).filter(([d]) => plainName(d.model || "") === plainName(p.model));
  return options.published.filter((p) => same(p).length).map((p) => {
    const on = same(p).find(([d]) => d.device && p.device.startsWith(d.device.toLowerCase()));
    return on ? { ...p, color: `var(--l${on[1]})` } : p;
  });
}

function legend() {
  const items = state.deployments.map((_, i) => [`var(--l${i})`, names()[i], ""]);
  items.push(["var(--ink)", "filled: Pareto-optimal of its model", "dot"], ["var(--ink)", "large: as stated above", "dot large"]);
  const kinds = new Set(drawn.lines.filter((l) => l.measured).flatMap((l) => l.points.map((p) => Boolean(p.published))));
  if (kinds.has(false)) items.push(["var(--ink)", "measured by you", "cross"]);
  if (kinds.has(true)) items.push(["var(--ink)", "measured, published by others", "diamond"]);
  $("plane-legend").replaceChildren(...items.map(([color, text, kind]) => {
    const item = element("li"), mark = element("i", kind);
    mark.style.color = color;
    item.append(mark, element("span", "", text));
    return item;
  }));
}

function published() {
  const here = ofModels(), on = drawn.lines.filter((l) => l.measured).flatMap((l) => l.points).filter((p) => p.published).length;
  const axes = [...new Set(here.map((p) => (p.device_j_tok === null ? "J/token, nodes" : "J/token, devices")))].join(" or ");
  const off = here.length - on;
  $("published-note").textContent = !here.length ? "No published run of these models is in the catalog." :
    `${here.length} published runs of these models are in the catalog${$("published").checked && off ? `; ${off} of them do not state both axes (choose ${axes})` : ""}. Their lengths and engines are their own: see each point.`;
}

function step(line, point) {
  const usable = drawn.lines.filter((l) => l.points.length);
  if (!usable.length) return;
  const at = cursor ? usable.indexOf(drawn.lines[cursor.line]) : 0;
  const chosen = usable[(Math.max(at, 0) + line + usable.length) % usable.length];
  cursor = { line: drawn.lines.indexOf(chosen), point: Math.min(Math.max((cursor ? cursor.point : 0) + point, 0), chosen.points.length - 1) };
  tell();
}

function tell() {
  drawCurves();
  const p = cursor && drawn.lines[cursor.line]?.points[cursor.point];
  if (p) showPoint($("readout"), factsOf(p, drawn.lines, names()), element); else $("readout").replaceChildren();
}

function hover(event) {
  const best = nearest(drawn, event);
  if (best && (cursor?.line !== best.line || cursor?.point !== best.point)) { cursor = best; tell(); }
}

function listMeasured() {
  $("measured").replaceChildren(...measured.map((m) => {
    const skipped = m.skipped_count ? `; ${m.skipped_count} rows left out, the first: ${m.skipped[0].why}` : "";
    return element("li", "", `${m.name}: ${m.points.length} measured points${skipped}`);
  }));
}

function listen() {
  which = Math.max(0, Math.trunc(Number(state.view.which)) || 0);
  for (const [id, axis] of [["x", "tpot_s"], ["y", "node_j_tok"]]) {
    $(id).replaceChildren(...Object.entries(AXES).map(([value, [text]]) => { const o = element("option", "", text); o.value = value; return o; }));
    $(id).value = AXES[state.view[id]] ? state.view[id] : axis;
    $(id).addEventListener("change", () => { state.view[id] = $(id).value; remember(); cursor = null; drawCurves(); });
  }
  $("log").checked = state.view.log !== "0";
  $("log").addEventListener("change", () => { state.view.log = $("log").checked ? "" : "0"; remember(); drawCurves(); });
  $("bands").checked = state.view.bands !== "0";
  $("bands").addEventListener("change", () => { state.view.bands = $("bands").checked ? "" : "0"; remember(); drawCurves(); });
  $("add").addEventListener("click", () => { state.deployments.push({ ...state.deployments.at(-1) }); restart(); });
  $("published").checked = state.view.published !== "0";
  $("published").addEventListener("change", () => { state.view.published = $("published").checked ? "" : "0"; cursor = null; remember(); drawCurves(); });
  $("link").addEventListener("click", () => copy(location.href, "Link", $("linked")));
  listenCopies((text) => { $("cli").textContent = text; $("copy-title").scrollIntoView(); });
  for (const select of document.querySelectorAll(".which")) select.addEventListener("change", () => {
    which = Number(select.value);
    state.view.which = which ? String(which) : "";
    remember();
    for (const other of document.querySelectorAll(".which")) other.value = which;
    refreshSliders($("sliders")); drawChosen(); loadSensitivity();
  });
  $("plane").addEventListener("keydown", (e) => {
    const move = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowUp: [-1, 0], ArrowDown: [1, 0], Home: [0, -999], End: [0, 999] }[e.key];
    if (move && drawn) { e.preventDefault(); step(...move); }
  });
  $("plane").addEventListener("pointermove", hover);
  listenDrops($("drop"), (answer) => {
    if (answer.error) { $("measured").append(element("li", "bad", answer.error.message || answer.error)); return; }
    measured.push(answer);
    listMeasured();
    drawCurves();
  });
  $("rank").addEventListener("click", rank);
  listenPlan();
  listenDay(state.view, remember, (texts, trace) => asker.ask("day", `/api/day?${query(state.deployments[which], state.site)}&${texts}`, trace));
  addEventListener("resize", () => later("resize", drawCurves, 80));
  addEventListener("hashchange", () => { if (toHash(state) !== location.hash) location.reload(); });
}

async function rank() {
  $("rank").disabled = true;
  $("levers-note").textContent = "Predicting every lever and their combinations …";
  const answer = await asker.ask("levers", `/api/levers?${query(state.deployments[which], state.site)}`);
  $("rank").disabled = false;
  if (!answer) return;
  if (answer.error) { $("levers-note").textContent = answer.error.message; return; }
  $("levers").hidden = false;
  drawLevers(answer, $("tornado"), $("combinations"), $("levers-note"));
  hold("levers", [answer.copy]);
}

async function start() {
  options = await fetch("/api/options").then((r) => r.json());
  measured = options.measured;
  datalists(options);
  $("site-name").textContent = options.site ? `(over ${options.site})` : "";
  $("site-card").open = Object.values(state.site).some((v) => v);
  listen();
  listMeasured();
  build();
  loadAll();
}

start();
