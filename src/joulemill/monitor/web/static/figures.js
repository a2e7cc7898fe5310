// Numbers as people read them. Unknown is a dash, never a nought.
export const DASH = "–";

export function digits(x) {
  if (x === null || x === undefined || !Number.isFinite(x)) return DASH;
  if (x === 0) return "0";
  const size = Math.abs(x);
  if (size >= 1e9 || size < 1e-3) return x.toExponential(2);
  return Number(x.toPrecision(3)).toLocaleString("en", { maximumSignificantDigits: 3 });
}

// Constraints have names for machines; people read words.
export const words = (name) => (name || "").replaceAll("_", " ").replace(/^kv /, "KV ");

const STEPS = [[1e9, "G"], [1e6, "M"], [1e3, "k"], [1, ""], [1e-3, "m"], [1e-6, "µ"], [1e-9, "n"]];

export function quantity(x, unit) {
  if (x === null || x === undefined || !Number.isFinite(x)) return DASH;
  const size = Math.abs(x);
  const [factor, prefix] = size === 0 ? [1, ""] : STEPS.find(([f]) => size >= f) || STEPS[STEPS.length - 1];
  return `${digits(x / factor)} ${prefix}${unit}`;
}

// As ``quantity``, but joules per token always in J/tok: they stand beside one another.
export const amount = (x, unit) => (unit === "J/tok" && Math.abs(x) >= 1e-3 && Math.abs(x) < 1e4 && x !== null ? `${digits(x)} ${unit}` : quantity(x, unit));

// Two ends of an interval in words; a unit that both have is said once: "0.48 to 0.79 J/tok".
export function ends(low, high) {
  const [a, b] = [low, high].map((text) => [text.slice(0, text.indexOf(" ")), text.slice(text.indexOf(" "))]);
  return low.includes(" ") && a[1] === b[1] ? `${a[0]} to ${high}` : `${low} to ${high}`;
}

export const percent = (x) => (x === null || x === undefined ? DASH : `${digits(100 * x)} %`);

// "; p50 12 ms, p90 …": of an interval's requests; a dash where it lies beyond the histogram's last bound.
export function percentiles(t, what) {
  const found = t.latency[what];
  return found ? `; ${[50, 90, 99].map((p, i) => `p${p} ${quantity(found[i], "s")}`).join(", ")}` : "";
}

export const span = (s) => (s < 120 ? `${Math.round(s)} s` : s < 7200 ? `${Math.round(s / 60)} min` : `${digits(s / 3600)} h`);

// Weakest first: a sum is only as well known as its worst part.
const RANK = ["declared", "datasheet", "modelled", "calibrated", "measured"];

export const weakest = (bases) => RANK.find((b) => bases.includes(b)) || null;

export const sum = (xs) => xs.reduce((a, b) => a + b, 0);

// The widest scope of a target that has joules.
export function energyOf(t) {
  for (const scope of ["node", "device", "cpu"]) if (t.energy[scope] && t.energy[scope].w !== null) return { scope, ...t.energy[scope] };
  return null;
}

// Joules over tokens of the targets whose watts and rate are both known.
export function ratio(targets) {
  const known = targets.map((t) => [t, energyOf(t)]).filter(([t, e]) => e && t.tok_s !== null);
  const rate = sum(known.map(([t]) => t.tok_s));
  return {
    j_tok: rate > 0 ? sum(known.map(([, e]) => e.w)) / rate : null,
    basis: weakest(known.map(([, e]) => e.basis)), count: known.length,
    scopes: [...new Set(known.map(([, e]) => e.scope))],
  };
}
