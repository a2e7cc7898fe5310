// The page: takes snapshots as they come, draws what changed. Every text goes in as text, never as markup.
import { DASH, digits, energyOf, percent, percentiles, quantity, ratio, span, sum, weakest, words } from "./figures.js";
import { element, svg } from "./dom.js";
import { drawBarrel } from "./barrel.js";
import { Table } from "./table.js";
import { Lines } from "./lines.js";

const $ = (id) => document.getElementById(id);
let now = null;
let chosen = null;
let leversOf = null;
let drawn = false;

const table = new Table($("table"), $("headrow"), $("rows"), $("spacer"), (name) => { chosen = name; draw(); });
const lines = new Lines($, () => now);

function tile(name, value, basis, note) {
  const box = element("div", "tile");
  box.append(element("span", "quiet", name), element("b", "", value));
  if (basis) box.append(element("span", `basis ${basis}`, basis), " ");
  box.append(element("span", "quiet", note));
  return box;
}

function tiles() {
  const t = now.targets;
  const fleet = ratio(t);
  const rates = t.filter((x) => x.tok_s !== null);
  const energies = t.map((x) => [x, energyOf(x)]).filter(([, e]) => e);
  const watts = sum(energies.map(([, e]) => e.w));
  const idle = energies.filter(([x]) => x.idle !== null && x.idle >= 0.95);
  const up = t.filter((x) => x.up).length;
  const site = siteWatts();
  const us = t.filter((x) => x.u !== null);
  $("tiles").replaceChildren(
    tile("energy per output token", quantity(fleet.j_tok, "J/tok"), fleet.basis,
      fleet.count ? `${fleet.scopes.join(" + ")}, ${fleet.count} of ${t.length} targets` : "nothing is metered"),
    tile("output", quantity(rates.length ? sum(rates.map((x) => x.tok_s)) : null, "tok/s"), rates.length ? "measured" : null,
      `${rates.length} of ${t.length} targets`),
    tile("IT power", energies.length ? quantity(watts, "W") : DASH, weakest(energies.map(([, e]) => e.basis)),
      `${energies.length} of ${t.length} targets metered`),
    tile("PUE-adjusted power", quantity(site.w, "W"), site.basis, site.note),
    tile("idle burn", energies.length ? quantity(sum(idle.map(([, e]) => e.w)), "W") : DASH, weakest(idle.map(([, e]) => e.basis)),
      `${idle.length} targets without a request`),
    tile("utilization U", us.length ? percent(sum(us.map((x) => x.u)) / us.length) : DASH, us.length ? "modelled" : null,
      us.length ? `mean of ${us.length} targets` : "no target's full load is known"),
    tile("targets up", `${up} of ${t.length}`, null, now.alerts.length ? `${now.alerts.length} alert${now.alerts.length === 1 ? "" : "s"}` : "no alert"),
  );
}

function siteWatts() {
  let w = 0, known = 0, bases = [];
  for (const s of now.sites) {
    const its = now.targets.filter((t) => t.site === s.site && t.energy.node && t.energy.node.w !== null);
    if (s.pue === null || !its.length) continue;
    w += s.pue * sum(its.map((t) => t.energy.node.w));
    known += its.length;
    bases = bases.concat(its.map((t) => t.energy.node.basis), s.pue_basis);
  }
  if (!known) return { w: null, basis: null, note: "needs a node meter and a site's PUE" };
  return { w, basis: weakest(bases), note: `${known} of ${now.targets.length} targets` };
}

function alertList() {
  const list = $("alerts").querySelector("ul");
  $("alerts").hidden = !now.alerts.length;
  const alike = new Map();
  for (const a of now.alerts) {
    const key = `${a.kind} ${a.kind === "meter" ? a.text.split(" ")[0] : a.kind === "idle" ? "" : a.text}`;
    if (!alike.has(key)) alike.set(key, []);
    alike.get(key).push(a);
  }
  list.replaceChildren(...[...alike.values()].map((same) => {
    const names = same.slice(0, 4).map((a) => a.subject).join(", ");
    const more = same.length > 4 ? ` and ${same.length - 4} more` : "";
    const since = Math.min(...same.map((a) => a.since_s ?? Infinity));
    const when = Number.isFinite(since) ? `, ${same.length > 1 ? "the first " : ""}since ${moment(since)} (${span(Math.max(now.at_s - since, 0))})` : "";
    return element("li", "", `${names}${more}: ${same[0].text}${same.length > 1 && same[0].kind === "idle" ? " (the first)" : ""}${when}`);
  }));
}

// A moment as its hour, with the day where that is another one.
function moment(s) {
  const at = new Date(s * 1000), time = at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  return at.toDateString() === new Date(now.at_s * 1000).toDateString() ? time : `${at.toLocaleDateString()} ${time}`;
}

function target() {
  const named = now.targets.find((t) => t.name === chosen);
  if (named) return named;
  return now.targets.reduce((a, b) => ((b.tok_s ?? -1) > (a.tok_s ?? -1) ? b : a), now.targets[0]);
}

function barrel() {
  const t = target();
  if (!t) return;
  $("barrel-of").textContent = t.name;
  const sure = t.binding_p === null ? "" : `, ${percent(t.binding_p)} sure`;
  const state = t.up ? (t.binding ? `active constraint: ${words(t.binding)}${sure}` : `active constraint not known${t.binding_reason ? ` (${t.binding_reason.replaceAll("_", " ")})` : ""}`) : `down: ${t.reason}`;
  const e = energyOf(t);
  const joule = e && e.j_tok !== null ? `, ${quantity(e.j_tok, "J/tok")} (${e.scope}, ${e.basis})` : "";
  const at = t.energy.site;
  const wide = at && at.j_tok !== null ? `, ${quantity(at.j_tok, "J/tok")} at the site (${at.basis})` : "";
  $("barrel-note").textContent = `${t.model} · ${t.device ? `${t.devices ?? "?"} × ${t.device}` : "device not stated"} · ` +
    `${state}; ${quantity(t.tok_s, "tok/s")}${joule}${wide}${latency(t, "ttft", "TTFT")}${latency(t, "tpot", "TPOT")}. ${phi(t)}, U ${percent(t.u)}.${refusals(t)}`;
  $("barrel").replaceChildren(drawBarrel(svg, t));
  levers(t);
}

// Φ with its bounds, or why it is not known.
function phi(t) {
  if (t.phi === null || t.phi === undefined) return `Φ not known${t.phi_reason ? `: ${t.phi_reason}` : ""}`;
  const bounds = t.phi_low === null ? "" : ` (${digits(t.phi_low)} to ${digits(t.phi_high)})`;
  return `Φ ${digits(t.phi)}${bounds}${t.phi_reason ? `, ${t.phi_reason}` : ""}`;
}

const refusals = (t) => {
  const texts = [...new Set((t.findings || []).filter((f) => f[3]).map((f) => f[2]))];
  return texts.length ? ` Joules refused: ${texts.join("; ")}.` : "";
};

const latency = (t, what, name) => (t.latency[what] ? `; ${name}${percentiles(t, what).slice(1)}` : "");

async function levers(t) {
  const key = `${t.name} ${t.binding}`;
  if (key === leversOf) return;
  leversOf = key;
  $("levers-note").textContent = `Working it out for ${t.name} …`;
  $("levers").replaceChildren();
  let found = { levers: [], reason: "could not be asked" };
  try {
    const answer = await fetch(`/api/levers?target=${encodeURIComponent(t.name)}`);
    if (answer.ok) found = await answer.json();
  } catch { leversOf = null; }
  if (leversOf !== null && leversOf !== key) return;
  $("levers-note").textContent = found.reason || "";
  $("levers").replaceChildren(...found.levers.map((l) => {
    const item = element("li");
    item.append(element("b", "", l.name), " ", element("span", "", l.effect), " ");
    if (l.basis) item.append(element("span", `basis ${l.basis}`, l.basis), " ");
    item.append(element("span", "quiet", l.note));
    return item;
  }));
}

function bars(box, rows) {
  const top = Math.max(...rows.map((r) => r.value), 1e-12);
  box.replaceChildren(...rows.flatMap((r) => {
    const name = element(r.click ? "button" : "span", "name", r.name);
    if (r.click) { name.type = "button"; name.addEventListener("click", r.click); }
    const track = element("span", "track");
    for (const [kind, value] of r.parts) {
      const fill = element("span", `fill ${kind}`);
      fill.style.width = `${(100 * value) / top}%`;
      track.append(fill);
    }
    return [name, track, element("span", "n", r.text)];
  }));
}

function joules() {
  const models = new Map();
  for (const t of now.targets) {
    const e = energyOf(t);
    if (!e) continue;
    const m = models.get(t.model) || { busy: 0, idle: 0, bases: [] };
    m[t.idle !== null && t.idle >= 0.95 ? "idle" : "busy"] += e.w;
    m.bases.push(e.basis);
    models.set(t.model, m);
  }
  const all = sum([...models.values()].map((m) => m.busy + m.idle));
  const rows = [...models].sort((a, b) => b[1].busy + b[1].idle - a[1].busy - a[1].idle).slice(0, 12).map(([name, m]) => ({
    name, value: m.busy + m.idle, parts: [["", m.busy], ["idle", m.idle]],
    text: `${quantity(m.busy + m.idle, "W")} · ${percent((m.busy + m.idle) / all)} · ${weakest(m.bases)}`,
    click: () => search(name),
  }));
  if (!rows.length) return $("joules").replaceChildren(element("p", "quiet", "No target is metered: give it meters in the configuration."));
  bars($("joules"), rows);
  $("joules").append(element("p", "quiet small wide", "Watts by model; the brown part is targets without a running request."));
}

// Sums of the targets that share a node: their shares of it add up to it once. Of parts the sum says so.
function nodes() {
  const all = new Map();
  for (const t of now.targets) if (t.node) all.set(t.node, [...(all.get(t.node) || []), t]);
  $("nodescard").hidden = ![...all.values()].some((its) => its.length > 1);
  if ($("nodescard").hidden) return;
  const rows = [...all].map(([name, its]) => {
    const known = its.map(energyOf).filter((e) => e), w = sum(known.map((e) => e.w)), per = ratio(its);
    const scopes = [...new Set(known.map((e) => e.scope))].join(" + ");
    const text = known.length ? `${quantity(w, "W")} ${scopes} · ${quantity(per.j_tok, "J/tok")} · ${weakest(known.map((e) => e.basis))}` : "not metered";
    return { name, value: w, parts: [["", w]], text: `${text} · ${known.length} of ${its.length} targets`, click: () => search(name) };
  });
  bars($("nodes"), rows.sort((a, b) => b.value - a.value).slice(0, 12));
  if (rows.length > 12) $("nodes").append(element("p", "quiet small wide", `The first 12 of ${rows.length} nodes.`));
}

function binds() {
  const counts = new Map();
  for (const t of now.targets) {
    const name = !t.up ? "down" : words(t.binding) || "not known";
    counts.set(name, (counts.get(name) || 0) + 1);
  }
  bars($("binds"), [...counts].sort((a, b) => b[1] - a[1]).map(([name, n]) => ({
    name, value: n, parts: [["bind", n]], text: `${n} target${n === 1 ? "" : "s"}`, click: () => search(name),
  })));
}

function sites() {
  const metered = now.sites.filter((s) => s.metered || s.power_limit_w !== null);
  $("sites").hidden = !metered.length;
  $("sitelist").replaceChildren(...metered.map((s) => {
    const item = element("li");
    item.append(element("b", "", s.site), " ");
    if (s.power_limit_w !== null) item.append(headroom(s), " ");
    if (!s.metered) return item;
    for (const scope of ["site", "rack"]) {
      const p = s.power[scope];
      if (!p || p.w === null) continue;
      const half = p.half_w === null ? "" : ` ± ${quantity(p.half_w, "W")}`;
      item.append(`${scope} ${quantity(p.w, "W")}${half} `, element("span", `basis ${p.basis}`, p.basis), " ");
    }
    if (s.it_w !== null) item.append(`nodes ${quantity(s.it_w, "W")} `);
    const bounds = s.pue_low === null || s.pue_high === null ? "" : ` (${digits(s.pue_low)} to ${digits(s.pue_high)})`;
    item.append(`PUE ${digits(s.pue)}${bounds} `);
    if (s.pue_basis) item.append(element("span", `basis ${s.pue_basis}`, s.pue_basis), " ");
    if (s.pue_reason) item.append(element("span", "quiet", s.pue_basis ? `not measured: ${s.pue_reason}` : s.pue_reason));
    else if (s.pue_declared !== null) item.append(element("span", "quiet", `declared: ${digits(s.pue_declared)}`));
    return item;
  }));
}

// What is left of a site's power limit, of what is known to be drawn.
function headroom(s) {
  const it = s.it_now, limit = quantity(s.power_limit_w, "W");
  if (!it || it.w === null) return `power limit ${limit}, what is drawn is not known`;
  const part = it.known < it.of ? `, ${it.of - it.known} of ${it.of} targets not metered` : "";
  return `${quantity(it.w, "W")} drawn (${it.scopes.join(" + ")}) of ${limit}: ${quantity(s.power_limit_w - it.w, "W")} headroom${part}`;
}

function search(text) {
  $("search").value = text;
  table.filter(text);
  $("table").focus({ preventScroll: true });
  shown();
}

function shown() {
  $("shown").textContent = `${table.count} of ${now.targets.length}`;
}

function draw() {
  if (!now) return;
  tiles(); alertList(); barrel(); joules(); nodes(); binds(); sites();
  table.show(now.targets, chosen || target()?.name);
  shown();
  lines.live(now);
}

function state(text, bad) {
  $("state").textContent = text;
  $("state").className = bad ? "bad" : "quiet";
}

function listen() {
  const events = new EventSource("/events");
  events.onmessage = (message) => {
    now = JSON.parse(message.data);
    state(`live, ${new Date(now.at_s * 1000).toLocaleTimeString()}`, false);
    requestAnimationFrame(() => { draw(); if (!drawn) { drawn = true; lines.load(); } });
  };
  events.onerror = () => {
    state(now ? `no answer since ${new Date(now.at_s * 1000).toLocaleTimeString()}; trying again` : "no answer; trying again", true);
    if (events.readyState === EventSource.CLOSED) setTimeout(listen, 5000);
  };
}

$("search").addEventListener("input", (e) => { table.filter(e.target.value); if (now) shown(); });
setInterval(() => {
  if (now && Date.now() / 1000 - now.at_s > 60) state(`nothing new for ${span(Date.now() / 1000 - now.at_s)}`, true);
}, 10000);
listen();
