import { drawBarrel } from "/shared/barrel.js";
import { element, svg } from "/shared/dom.js";
import { quantity } from "/shared/figures.js";
import { Asker, MOST, fromHash, query, toHash } from "/static/asking.js";
import { datalists, deploymentForm, showFault, siteForm } from "/static/forms.js";
import { listenDay } from "/static/day.js";
import { listenPlan } from "/static/plan.js";
import { AXES, drawPlane, toldPoint, widen } from "/static/plane.js";
import { drawTable } from "/static/table.js";
import { bars, changeOf, drawLevers, refreshSliders, sensitivityNote, sliders } from "/static/whatif.js";

const $ = (id) => document.getElementById(id);
const asker = new Asker();
let options = null, state = fromHash(location.hash), answers = [], curves = [], measured = [], which = 0, cursor = null, drawn = null, wide = 860;
const waiting = new Map();

const later = (name, run, ms = 40) => { clearTimeout(waiting.get(name)); waiting.set(name, setTimeout(run, ms)); };
const names = () => state.deployments.map((d, i) => `${i + 1}: ${d.model} on ${d.devices || 1} × ${d.device}`);

function remember() { history.replaceState(null, "", toHash(state)); }

function build() {
  $("deployments").replaceChildren(...state.deployments.map((d, i) => deploymentForm(i, d, options.fields, {
    changed: (name, value) => { d[name] = value; remember(); refreshSliders($("sliders")); later(`d${i}`, () => load(i)); },
    copied: () => { if (state.deployments.length < MOST) { state.deployments.push({ ...d }); restart(); } },
    removed: () => { if (state.deployments.length > 1) { state.deployments.splice(i, 1); restart(); } },
  })));
  siteForm($("site"), options.site_keys, state.site, (key, value) => { state.site[key] = value; remember(); refreshSliders($("sliders")); later("site", loadAll); });
  $("add").disabled = state.deployments.length >= MOST;
  which = Math.min(which, state.deployments.length - 1);
  for (const select of document.querySelectorAll(".which")) {
    select.replaceChildren(...state.deployments.map((_, i) => { const o = element("option", "", `Deployment ${i + 1}`); o.value = i; return o; }));
    select.value = which;
  }
  sliders($("sliders"), read, write);
}

function restart() { answers = []; curves = []; cursor = null; remember(); build(); loadAll(); }

const read = (field) => (field.startsWith("site.") ? state.site[field.slice(5)] : state.deployments[which][field]) || "";

function write(field, value) {
  const site = field.startsWith("site.");
  if (site) state.site[field.slice(5)] = value; else state.deployments[which][field] = value;
  const input = $(site ? `site-${field.slice(5)}` : `d${which}-${field}`);
  if (input) input.value = value;
  remember();
  if (site) later("site", loadAll, 15); else { const i = which; later(`d${i}`, () => load(i), 15); }
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
}

function draw() {
  drawTable($("table"), state.deployments, answers);
  drawChosen();
}

function drawChosen() {
  const answer = answers[which];
  if (!answer || !answer.prediction) { $("barrel").replaceChildren(); $("whatif").textContent = answer?.error?.message || ""; $("cli").textContent = $("python").textContent = ""; return; }
  const p = answer.prediction;
  $("barrel").replaceChildren(p.ceilings ? drawBarrel(svg, {
    name: `deployment ${which + 1}`, device: state.deployments[which].device, binding: p.binding.name, tok_s: p.rate_tok_s.value,
    ceilings: p.ceilings.map((c) => [c.name, c.rate_tok_s.value, c.rate_tok_s.basis]),
  }) : "");
  for (const text of $("barrel").querySelectorAll("text")) text.textContent = text.textContent.replace(/^now /, "predicted ");
  $("unbind").replaceChildren(...answer.unbind.map((line) => element("li", "", line)));
  $("whatif").textContent = answer.line;
  $("cli").textContent = answer.cli;
  $("python").textContent = answer.python;
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
  wide = widen($("plane").clientWidth);
  drawn = drawPlane({ x, y, log: $("log").checked, bands: $("bands").checked, curves: state.deployments.map((_, i) => curves[i]), measured, slo: slo(), names: names(), cursor });
  $("plane").replaceChildren(drawn.picture);
}

function step(line, point) {
  const usable = drawn.lines.filter((l) => l.points.length);
  if (!usable.length) return;
  const at = cursor ? usable.findIndex((l) => l.deployment === cursor.line) : 0;
  const chosen = usable[(Math.max(at, 0) + line + usable.length) % usable.length];
  cursor = { line: chosen.deployment, point: Math.min(Math.max((cursor ? cursor.point : 0) + point, 0), chosen.points.length - 1) };
  tell();
}

function tell() {
  drawCurves();
  const p = cursor && drawn.lines[cursor.line].points[cursor.point];
  $("readout").textContent = p ? toldPoint(p, names(), $("x").value, $("y").value) : "";
}

function hover(event) {
  if (!drawn?.sx) return;
  const box = drawn.picture.getBoundingClientRect(), k = wide / box.width, mx = (event.clientX - box.left) * k, my = (event.clientY - box.top) * k;
  let best = null;
  for (const line of drawn.lines) line.points.forEach((p, i) => {
    const d = Math.hypot(drawn.sx.at(p.x) - mx, drawn.sy.at(p.y) - my);
    if (d < 28 && (!best || d < best.d)) best = { d, line: line.deployment, point: i };
  });
  if (best && (cursor?.line !== best.line || cursor?.point !== best.point)) { cursor = { line: best.line, point: best.point }; tell(); }
}

async function take(file) {
  const answer = await fetch(`/api/measured?name=${encodeURIComponent(file.name)}`, { method: "POST", body: await file.text() }).then((r) => r.json()).catch(() => ({ error: { message: "the server does not answer" } }));
  if (answer.error) { $("measured").append(element("li", "bad", answer.error.message || answer.error)); return; }
  measured.push(answer);
  listMeasured();
  drawCurves();
}

function listMeasured() {
  $("measured").replaceChildren(...measured.map((m) => {
    const skipped = m.skipped_count ? `; ${m.skipped_count} rows left out, the first: ${m.skipped[0].why}` : "";
    return element("li", "", `${m.name}: ${m.points.length} measured points${skipped}`);
  }));
}

function copy(text, what) {
  const done = () => { $("copied").textContent = `${what} copied`; };
  if (navigator.clipboard) navigator.clipboard.writeText(text).then(done, () => { $("copied").textContent = "select the text below to copy it"; });
  else $("copied").textContent = "select the text below to copy it";
}

function listen() {
  for (const [id, axis] of [["x", "tpot_s"], ["y", "node_j_tok"]]) {
    $(id).replaceChildren(...Object.entries(AXES).map(([value, [text]]) => { const o = element("option", "", text); o.value = value; return o; }));
    $(id).value = AXES[state.view[id]] ? state.view[id] : axis;
    $(id).addEventListener("change", () => { state.view[id] = $(id).value; remember(); cursor = null; drawCurves(); });
  }
  $("log").checked = state.view.log !== "0";
  $("log").addEventListener("change", () => { state.view.log = $("log").checked ? "" : "0"; remember(); drawCurves(); });
  $("bands").addEventListener("change", drawCurves);
  $("add").addEventListener("click", () => { state.deployments.push({ ...state.deployments.at(-1) }); restart(); });
  $("link").addEventListener("click", () => copy(location.href, "Link"));
  $("copy-cli").addEventListener("click", () => copy($("cli").textContent, "Command"));
  $("copy-python").addEventListener("click", () => copy($("python").textContent, "Python"));
  for (const select of document.querySelectorAll(".which")) select.addEventListener("change", () => {
    which = Number(select.value);
    for (const other of document.querySelectorAll(".which")) other.value = which;
    refreshSliders($("sliders")); drawChosen(); loadSensitivity();
  });
  $("plane").addEventListener("keydown", (e) => {
    const move = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowUp: [-1, 0], ArrowDown: [1, 0], Home: [0, -999], End: [0, 999] }[e.key];
    if (move && drawn) { e.preventDefault(); step(...move); }
  });
  $("plane").addEventListener("pointermove", hover);
  $("file").addEventListener("change", () => [...$("file").files].forEach(take));
  $("drop").addEventListener("dragover", (e) => { e.preventDefault(); $("drop").classList.add("over"); });
  $("drop").addEventListener("dragleave", () => $("drop").classList.remove("over"));
  $("drop").addEventListener("drop", (e) => { e.preventDefault(); $("drop").classList.remove("over"); [...e.dataTransfer.files].forEach(take); });
  $("rank").addEventListener("click", rank);
  listenPlan();
  listenDay((texts) => asker.ask("day", `/api/day?${query(state.deployments[which], state.site)}&${texts}`));
  addEventListener("resize", () => later("resize", drawCurves, 80));
  addEventListener("hashchange", () => { if (toHash(state) !== location.hash) { state = fromHash(location.hash); restart(); } });
}

async function rank() {
  $("rank").disabled = true;
  $("levers-note").textContent = "Predicting every lever and their combinations …";
  const answer = await asker.ask("levers", `/api/levers?${query(state.deployments[which], state.site)}`);
  $("rank").disabled = false;
  if (!answer) return;
  if (answer.error) { $("levers-note").textContent = answer.error.message; return; }
  drawLevers(answer, $("tornado"), $("combinations"), $("levers-note"));
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
