// The plane: J/token (or another figure) against latency, one curve per deployment over concurrency. SVG, no library.
import { svg } from "/static/dom.js";
import { amount, digits, ends, quantity } from "/static/figures.js";

// name → label, unit, whether more is better
export const AXES = {
  tpot_s: ["TPOT", "s", false], ttft_s: ["TTFT", "s", false], node_j_tok: ["J/token, nodes", "J/tok", false], device_j_tok: ["J/token, devices", "J/tok", false],
  site_j_tok: ["J/token, site", "J/tok", false], rate_tok_s: ["output rate", "tok/s", true], user_tok_s: ["output tok/s per user", "tok/s", true],
  tok_s_mw: ["output tok/s per MW, nodes", "tok/s/MW", true], concurrency: ["concurrency per replica", "req", true],
};
const H = 400, LEFT = 64, RIGHT = 14, TOP = 14, BOTTOM = 50;
let W = 860;

// Units of the picture across: its width on the screen, so that text stays readable on a phone.
export function widen(width) { W = Math.max(320, Math.min(Math.round(width) || 860, 1180)); }

// Figures that are one over another: name → that other's column and the factor. Their intervals' ends change places.
const INVERSE = { user_tok_s: ["tpot_s", 1], tok_s_mw: ["node_j_tok", 1e6] };
const OTHER_END = { "": "", _low: "_high", _high: "_low" };

// The value of an axis, or one end of its interval, of columns read by `column(name)`; null where it is not known.
function axisValue(name, end, pue, column) {
  if (name === "concurrency") return end ? null : column("concurrency");
  if (INVERSE[name]) {
    const [of, factor] = INVERSE[name], x = column(of + OTHER_END[end]);
    return x ? factor / x : null;
  }
  if (name === "site_j_tok" && pue !== undefined) { const x = column(`node_j_tok${end}`); return x === null || !pue ? null : x * pue; }
  return column(name + end);
}

export const pointValue = (curve, name, i, end = "") => axisValue(name, end, curve.pue ?? null, (c) => (curve.points[c] ? curve.points[c][i] : null));
const measuredValue = (p, name, end = "") => axisValue(name, end, undefined, (c) => p[c] ?? null);

// The Pareto-optimal points of two axes; `more`: whether more is better.
export function pareto(points, moreX, moreY) {
  const sorted = [...points].sort((a, b) => (moreX ? b.x - a.x : a.x - b.x) || (moreY ? b.y - a.y : a.y - b.y));
  let best = null;
  return new Set(sorted.filter((p) => {
    const better = best === null || (moreY ? p.y > best : p.y < best);
    if (better) best = p.y;
    return better;
  }));
}

export function linesOf(curves, x, y) {
  return curves.map((curve, deployment) => {
    if (!curve || !curve.points) return { deployment, curve, points: [] };
    const points = curve.points.concurrency.map((concurrency, i) => ({
      x: pointValue(curve, x, i), y: pointValue(curve, y, i), low: pointValue(curve, y, i, "_low"), high: pointValue(curve, y, i, "_high"),
      at: i, concurrency, deployment, chosen: concurrency === curve.chosen,
    })).filter((p) => p.x !== null && p.y !== null);
    return { deployment, curve, points };
  });
}

// Measured points as lines without a stroke, so that the keyboard walks them too. `from` is what a group is called.
function groupsOf(groups, x, y) {
  return groups.map(({ name, published, points }) => ({
    measured: true, points: points.map((p) => ({ ...p, from: name, published, x: measuredValue(p, x), y: measuredValue(p, y), low: measuredValue(p, y, "_low"), high: measuredValue(p, y, "_high") }))
      .filter((p) => p.x > 0 && p.y > 0),
  }));
}

// `models`: of each curve, its model, since points of one model alone compete; `groups`: measured points by where they
// are from; `slo`: axis → the strictest limit.
export function drawPlane(state) {
  const { x, y, log, bands, curves, models, groups, slo, names, cursor } = state;
  const modelled = linesOf(curves, x, y), own = groupsOf(groups, x, y), lines = [...modelled, ...own];
  const all = modelled.flatMap((l) => l.points), dots = own.flatMap((l) => l.points), every = [...all, ...dots];
  const picture = svg("svg", { viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": described(modelled, names, x, y) });
  if (!every.length) { picture.append(svg("text", { x: 8, y: 40 }, nothing(x, y, curves))); return { picture, lines }; }
  const ys = all.flatMap((p) => (bands ? [p.y, p.low ?? p.y, p.high ?? p.y] : [p.y])).concat(dots.map((p) => p.y));
  const sx = scale(every.map((p) => p.x), LEFT, W - RIGHT, log), sy = scale(ys, H - BOTTOM, TOP, log);
  axes(picture, sx, sy, x, y);
  sloRegion(picture, sx, sy, [x, y], slo);
  const front = new Set([...new Set(models)].flatMap((m) => [...pareto(all.filter((p) => models[p.deployment] === m), AXES[x][2], AXES[y][2])]));
  for (const line of modelled) drawLine(picture, line, sx, sy, bands, front);
  for (const p of dots) picture.append(svg("path", markOf(p, sx.at(p.x), sy.at(p.y))));
  const at = cursor && lines[cursor.line]?.points[cursor.point];
  if (at) picture.append(svg("circle", { cx: sx.at(at.x), cy: sy.at(at.y), r: 9, class: "cursor" }));
  return { picture, lines, front, sx, sy };
}

// The point of a drawn plane that a pointer is at: its line and its place on it; null where none is near.
const NEAR = 28;
export function nearest(drawn, event) {
  if (!drawn?.sx) return null;
  const box = drawn.picture.getBoundingClientRect(), k = W / box.width, x = (event.clientX - box.left) * k, y = (event.clientY - box.top) * k;
  let best = null;
  drawn.lines.forEach((line, l) => line.points.forEach((p, i) => {
    const d = Math.hypot(drawn.sx.at(p.x) - x, drawn.sy.at(p.y) - y);
    if (d < NEAR && (!best || d < best.d)) best = { d, line: l, point: i };
  }));
  return best && { line: best.line, point: best.point };
}

function nothing(x, y, curves) {
  const site = [x, y].includes("site_j_tok") && curves.some((c) => c && !c.pue);
  return site ? "J/token at the site needs a PUE: state one under “Site”" : "nothing to draw yet";
}

function drawLine(picture, line, sx, sy, bands, front) {
  const color = `var(--l${line.deployment})`;
  if (bands && line.points.some((p) => p.low !== null)) {
    const known = line.points.filter((p) => p.low !== null && p.high !== null);
    const there = known.map((p) => `${sx.at(p.x)},${sy.at(p.low)}`), back = [...known].reverse().map((p) => `${sx.at(p.x)},${sy.at(p.high)}`);
    picture.append(svg("polygon", { points: [...there, ...back].join(" "), class: "band", fill: color }));
  }
  picture.append(svg("polyline", { points: line.points.map((p) => `${sx.at(p.x)},${sy.at(p.y)}`).join(" "), class: "curve", stroke: color }));
  for (const p of line.points) {
    picture.append(svg("circle", { cx: sx.at(p.x), cy: sy.at(p.y), r: p.chosen ? 7 : 3.2, fill: front.has(p) ? color : "var(--card)", stroke: color, class: p.chosen ? "chosen" : "point" }));
  }
}

// A cross is the user's own, a diamond is published.
function markOf(p, x, y) {
  const stroke = p.color || "var(--ink)";
  if (p.published) return { stroke, d: `M${x},${y - 6}L${x + 6},${y}L${x},${y + 6}L${x - 6},${y}Z`, class: "published" };
  return { stroke, d: `M${x - 4},${y - 4}L${x + 4},${y + 4}M${x - 4},${y + 4}L${x + 4},${y - 4}`, class: "measured" };
}

export function scale(values, from, to, log) {
  const positive = values.filter((v) => v > 0);
  let low = log ? Math.min(...positive) / 1.1 : 0, high = Math.max(...positive) * (log ? 1.1 : 1.05);
  if (!(high > low)) high = low + 1;
  const f = log ? Math.log10 : (v) => v;
  const at = (v) => Math.round(10 * (from + ((f(Math.max(v, log ? low : 0)) - f(low)) / (f(high) - f(low))) * (to - from))) / 10;
  return { at, ticks: log ? logTicks(low, high) : linearTicks(high), low, high };
}

function linearTicks(high) {
  const raw = high / 5, power = 10 ** Math.floor(Math.log10(raw)), step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= raw);
  return Array.from({ length: Math.floor(high / step) + 1 }, (_, i) => i * step);
}

function logTicks(low, high) {
  const ticksOf = (steps) => {
    const ticks = [];
    for (let p = Math.floor(Math.log10(low)); p <= Math.log10(high); p += 1) for (const m of steps) { const v = m * 10 ** p; if (v >= low && v <= high) ticks.push(v); }
    return ticks;
  };
  const few = ticksOf([1, 2, 5]);
  return few.length > 3 ? few : ticksOf([1, 1.5, 2, 3, 4, 5, 6, 8]);
}

// Seconds carry their unit at each tick (20 ms), other axes in their title.
const tick = (v, name) => (AXES[name][1] === "s" ? quantity(v, "s") : AXES[name][1] === "J/tok" ? digits(v) : quantity(v, ""));
const titled = (name) => (AXES[name][1] === "s" ? AXES[name][0] : `${AXES[name][0]} [${AXES[name][1]}]`);

function axes(picture, sx, sy, x, y) {
  for (const v of sx.ticks) {
    picture.append(svg("line", { x1: sx.at(v), x2: sx.at(v), y1: TOP, y2: H - BOTTOM, class: "axis" }));
    picture.append(svg("text", { x: sx.at(v), y: H - BOTTOM + 16, "text-anchor": "middle", class: "tiny" }, tick(v, x)));
  }
  for (const v of sy.ticks) {
    picture.append(svg("line", { x1: LEFT, x2: W - RIGHT, y1: sy.at(v), y2: sy.at(v), class: "axis" }));
    picture.append(svg("text", { x: LEFT - 6, y: sy.at(v) + 4, "text-anchor": "end", class: "tiny" }, tick(v, y)));
  }
  picture.append(svg("text", { x: (LEFT + W) / 2, y: H - 10, "text-anchor": "middle" }, titled(x)));
  picture.append(svg("text", { x: 14, y: (TOP + H - BOTTOM) / 2, "text-anchor": "middle", transform: `rotate(-90 14 ${(TOP + H - BOTTOM) / 2})` }, titled(y)));
}

// What lies beyond the strictest SLO of an axis. On tok/s per user the limit of TPOT is a least rate.
const SLO_OF = { tpot_s: ["tpot_s", (s) => s], ttft_s: ["ttft_s", (s) => s], user_tok_s: ["tpot_s", (s) => 1 / s] };

function sloRegion(picture, sx, sy, names, slo) {
  names.forEach((name, way) => {
    const [of, turned] = SLO_OF[name] || [], limit = of && slo[of];
    if (!limit) return;
    const scale_ = way ? sy : sx, from = way ? TOP : LEFT, to = way ? H - BOTTOM : W - RIGHT;
    const edge = Math.min(Math.max(scale_.at(turned(limit)), from), to);
    const far = AXES[name][2] === Boolean(way) ? [edge, to] : [from, edge]; // pixels grow downwards
    const box = way ? { x: LEFT, width: W - RIGHT - LEFT, y: far[0], height: far[1] - far[0] } : { x: far[0], width: far[1] - far[0], y: TOP, height: H - BOTTOM - TOP };
    picture.append(svg("rect", { ...box, class: "slo" }));
    const text = `beyond the ${of === "tpot_s" ? "TPOT" : "TTFT"} SLO of ${quantity(limit, "s")}`, room = 6.2 * text.length;
    picture.append(svg("text", { x: Math.max(Math.min(way ? LEFT + 6 : far[0] + 6, W - RIGHT - room), LEFT + 4), y: Math.min(box.y + 14, H - BOTTOM - 4), class: "tiny" }, text));
  });
}

function described(lines, names, x, y) {
  const parts = lines.filter((l) => l.points.length).map((l) => {
    const ys = l.points.map((p) => p.y);
    return `${names[l.deployment]}: ${digits(Math.min(...ys))} to ${digits(Math.max(...ys))} ${AXES[y][1]}`;
  });
  return `${AXES[y][0]} against ${AXES[x][0]}. ${parts.join("; ")}`;
}

// All that is known of a point: a title, and rows of a name and a text.
const FACTS = [["device_j_tok", "J/tok", "J/token, devices"], ["node_j_tok", "J/tok", "J/token, nodes"], ["site_j_tok", "J/tok", "J/token, site"], ["rate_tok_s", "tok/s", "output rate"],
  ["user_tok_s", "tok/s", "per user"], ["tok_s_mw", "tok/s/MW", "per MW, nodes"], ["ttft_s", "s", "TTFT"], ["tpot_s", "s", "TPOT"], ["device_power_w", "W", "power, devices"], ["node_power_w", "W", "power, nodes"]];

export function factsOf(p, lines, names) {
  const value = p.from ? (n, end) => measuredValue(p, n, end) : (n, end) => pointValue(lines[p.deployment].curve, n, p.at, end);
  const rows = FACTS.map(([name, unit, label]) => {
    const x = value(name, ""), low = value(name, "_low") ?? null, high = value(name, "_high") ?? null;
    return x === null || x === undefined ? null : [label, `${amount(x, unit)}${low === null || high === null ? "" : ` (${ends(amount(low, unit), amount(high, unit))})`}`];
  }).filter(Boolean);
  if (!p.from) return { title: `${names[p.deployment]}, concurrency ${digits(p.concurrency)}`, rows, basis: "modelled", about: "in brackets the 80 % interval" };
  const load = [p.concurrency ? `concurrency ${digits(p.concurrency)}` : "concurrency not stated", p.output_tok ? `${digits(p.output_tok)} output tokens` : "", p.task, p.precision].filter(Boolean).join(", ");
  return { title: `${p.model} on ${p.devices ? `${digits(p.devices)} × ` : ""}${p.device}, ${load}`, rows, basis: p.basis || "not stated", about: p.published ? `${p.source}; ${p.license}; ${p.note}` : p.from };
}

// Those facts as elements of a box.
export function showPoint(box, facts, element) {
  const title = element("p"), about = element("p", "quiet small", `${facts.about}.`);
  title.append(element("b", "", facts.title), " ", element("span", `basis ${facts.basis}`, facts.basis));
  box.replaceChildren(title, factList(facts.rows, element), about);
}

export function factList(rows, element) {
  const list = element("dl", "facts");
  for (const [name, text] of rows) { const pair = element("div"); pair.append(element("dt", "", name), element("dd", "", text)); list.append(pair); }
  return list;
}
