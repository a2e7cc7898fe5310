// The plane: J/token (or another figure) against latency, one curve per deployment over concurrency. SVG, no library.
import { svg } from "/shared/dom.js";
import { digits, quantity } from "/shared/figures.js";

export const AXES = {
  tpot_s: ["TPOT", "s", false], ttft_s: ["TTFT", "s", false], node_j_tok: ["J/token, nodes", "J/tok", false], device_j_tok: ["J/token, devices", "J/tok", false],
  rate_tok_s: ["token rate", "tok/s", true], user_tok_s: ["tok/s per user (1/TPOT)", "tok/s", true],
  tok_s_mw: ["output tok/s per MW of nodes", "tok/s/MW", true], concurrency: ["concurrency per replica", "req", true],
};
const H = 400, LEFT = 64, RIGHT = 14, TOP = 14, BOTTOM = 50;
let W = 860;

// Units of the picture across: its width on the screen, so that text stays readable on a phone.
export function widen(width) { W = Math.max(340, Math.min(Math.round(width) || 860, 1180)); return W; }

// Derived figures: name → value of point i, or of one end of its interval.
export function pointValue(points, name, i, end = "") {
  const at = (column) => { const x = points[column + end]; return x ? x[i] : null; };
  if (name === "concurrency") return points.concurrency[i];
  if (name === "user_tok_s") { const other = { _low: "_high", _high: "_low" }[end] || ""; const t = points[`tpot_s${other}`][i]; return t ? 1 / t : null; }
  if (name === "tok_s_mw") { const other = { _low: "_high", _high: "_low" }[end] || ""; const e = points[`node_j_tok${other}`][i]; return e ? 1e6 / e : null; }
  return at(name);
}

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
    if (!curve || !curve.points) return { deployment, points: [] };
    const points = curve.points.concurrency.map((concurrency, i) => ({
      x: pointValue(curve.points, x, i), y: pointValue(curve.points, y, i), low: pointValue(curve.points, y, i, "_low"), high: pointValue(curve.points, y, i, "_high"),
      concurrency, deployment, chosen: concurrency === curve.chosen,
    })).filter((p) => p.x !== null && p.y !== null);
    return { deployment, points };
  });
}

export function drawPlane(state) {
  const { x, y, log, bands, curves, measured, slo, names, cursor } = state;
  const lines = linesOf(curves, x, y), all = lines.flatMap((l) => l.points);
  const own = measured.flatMap((m) => m.points.map((p) => ({ ...p, x: measuredValue(p, x), y: measuredValue(p, y), from: m.name }))).filter((p) => p.x && p.y);
  const picture = svg("svg", { viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": described(lines, names, x, y) });
  if (!all.length && !own.length) { picture.append(svg("text", { x: LEFT, y: 40 }, "nothing to draw yet")); return { picture, lines, own }; }
  const everyY = all.flatMap((p) => (bands ? [p.y, p.low ?? p.y, p.high ?? p.y] : [p.y])).concat(own.map((p) => p.y));
  const sx = scale(all.map((p) => p.x).concat(own.map((p) => p.x)), LEFT, W - RIGHT, log), sy = scale(everyY, H - BOTTOM, TOP, log);
  axes(picture, sx, sy, x, y);
  sloRegion(picture, sx, sy, x, slo);
  const front = pareto(all, AXES[x][2], AXES[y][2]);
  for (const line of lines) drawLine(picture, line, sx, sy, bands, front);
  for (const p of own) {
    const mark = svg("path", { d: cross(sx.at(p.x), sy.at(p.y)), stroke: "var(--measured)", "stroke-width": 2, class: "measured" });
    mark.append(svg("title", {}, `${p.from}: ${p.model} on ${p.devices} × ${p.device}, concurrency ${digits(p.concurrency)}: ${quantity(p.y, AXES[y][1])} at ${quantity(p.x, AXES[x][1])}, measured`));
    picture.append(mark);
  }
  const at = cursor && lines[cursor.line]?.points[cursor.point];
  if (at) picture.append(svg("circle", { cx: sx.at(at.x), cy: sy.at(at.y), r: 9, class: "cursor" }));
  return { picture, lines, own, front, sx, sy };
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

const cross = (x, y) => `M${x - 4},${y - 4}L${x + 4},${y + 4}M${x - 4},${y + 4}L${x + 4},${y - 4}`;

function measuredValue(p, name) {
  if (name === "user_tok_s") return p.tpot_s ? 1 / p.tpot_s : null;
  if (name === "tok_s_mw") return p.node_j_tok ? 1e6 / p.node_j_tok : null;
  return p[name] ?? null;
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
  const ticks = [];
  for (let p = Math.floor(Math.log10(low)); p <= Math.log10(high); p += 1) for (const m of [1, 2, 5]) { const v = m * 10 ** p; if (v >= low && v <= high) ticks.push(v); }
  return ticks;
}

function axes(picture, sx, sy, x, y) {
  for (const v of sx.ticks) {
    picture.append(svg("line", { x1: sx.at(v), x2: sx.at(v), y1: TOP, y2: H - BOTTOM, class: "axis" }));
    picture.append(svg("text", { x: sx.at(v), y: H - BOTTOM + 16, "text-anchor": "middle", class: "tiny" }, quantity(v, "")));
  }
  for (const v of sy.ticks) {
    picture.append(svg("line", { x1: LEFT, x2: W - RIGHT, y1: sy.at(v), y2: sy.at(v), class: "axis" }));
    picture.append(svg("text", { x: LEFT - 6, y: sy.at(v) + 4, "text-anchor": "end", class: "tiny" }, quantity(v, "")));
  }
  picture.append(svg("text", { x: (LEFT + W) / 2, y: H - 10, "text-anchor": "middle" }, `${AXES[x][0]} [${AXES[x][1]}]`));
  picture.append(svg("text", { x: 14, y: (TOP + H - BOTTOM) / 2, "text-anchor": "middle", transform: `rotate(-90 14 ${(TOP + H - BOTTOM) / 2})` }, `${AXES[y][0]} [${AXES[y][1]}]`));
}

// What lies beyond the strictest SLO on the axis across.
function sloRegion(picture, sx, sy, x, slo) {
  const limit = slo[x];
  if (!limit) return;
  const edge = Math.min(Math.max(sx.at(limit), LEFT), W - RIGHT);
  picture.append(svg("rect", { x: edge, y: TOP, width: W - RIGHT - edge, height: H - BOTTOM - TOP, class: "slo" }));
  picture.append(svg("text", { x: Math.min(edge + 5, W - 120), y: TOP + 14, class: "tiny" }, `beyond the SLO of ${quantity(limit, "s")}`));
}

function described(lines, names, x, y) {
  const parts = lines.filter((l) => l.points.length).map((l) => {
    const ys = l.points.map((p) => p.y);
    return `${names[l.deployment]}: ${digits(Math.min(...ys))} to ${digits(Math.max(...ys))} ${AXES[y][1]}`;
  });
  return `${AXES[y][0]} against ${AXES[x][0]}. ${parts.join("; ")}`;
}

export function toldPoint(p, names, x, y) {
  const range = p.low !== null && p.high !== null ? ` (${quantity(p.low, AXES[y][1])} to ${quantity(p.high, AXES[y][1])}, modelled)` : "";
  return `${names[p.deployment]}, concurrency ${digits(p.concurrency)}: ${AXES[y][0]} ${quantity(p.y, AXES[y][1])}${range} at ${AXES[x][0]} ${quantity(p.x, AXES[x][1])}`;
}
