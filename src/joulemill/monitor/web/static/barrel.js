// The barrel picture: each ceiling is a bar on a log scale, the rate is the water level. The lowest ceiling is active.
import { DASH, digits, words } from "./figures.js";

const WIDTH = 560, TOP = 22, BASE = 178;

export function drawBarrel(svg, t) {
  const known = t.ceilings.filter((c) => c[1] !== null && c[1] > 0);
  const label = known.map((c) => `${words(c[0])} ${digits(c[1])} tok/s`).join(", ") || "no ceiling is known";
  const picture = svg("svg", { viewBox: `0 0 ${WIDTH} 228`, role: "img", "aria-label": `Ceilings of ${t.name}: ${label}` });
  if (!known.length) {
    const why = t.device ? "no ceiling could be computed" : "state this target's device and model for its ceilings";
    picture.append(svg("text", { x: 0, y: 30, class: "tiny" }, why));
    return picture;
  }
  const staves = [...t.ceilings].sort((a, b) => (a[1] ?? Infinity) - (b[1] ?? Infinity));
  const values = known.map((c) => c[1]).concat(t.tok_s > 0 ? [t.tok_s] : []);
  const low = Math.log10(Math.min(...values)) - 0.35, high = Math.log10(Math.max(...values)) + 0.1;
  const y = (v) => BASE - ((Math.log10(v) - low) / (high - low)) * (BASE - TOP);
  const wide = WIDTH / staves.length;
  staves.forEach(([name, value, basis], i) => {
    const x = i * wide + 5, unknown = !(value > 0);
    const binds = name === t.binding;
    picture.append(svg("rect", {
      x, y: unknown ? TOP : y(value), width: wide - 10, height: BASE - (unknown ? TOP : y(value)), rx: 3,
      class: `stave${binds ? " binding" : ""}${unknown ? " unknown" : ""}`,
    }));
    picture.append(svg("text", { x: x + (wide - 10) / 2, y: (unknown ? TOP : y(value)) - 5, "text-anchor": "middle" }, digits(value)));
    const middle = x + (wide - 10) / 2, lines = words(name).split(" ");
    lines.forEach((line, n) => picture.append(svg("text", { x: middle, y: BASE + 14 + 12 * n, "text-anchor": "middle", class: "tiny" }, line)));
    picture.append(svg("text", { x: middle, y: BASE + 44, "text-anchor": "middle", class: "tiny" }, unknown ? "not known" : basis || DASH));
  });
  if (t.tok_s > 0) {
    picture.append(svg("rect", { x: 0, y: y(t.tok_s), width: WIDTH, height: BASE - y(t.tok_s), class: "water" }));
    picture.append(svg("line", { x1: 0, x2: WIDTH, y1: y(t.tok_s), y2: y(t.tok_s), class: "level" }));
    picture.append(svg("text", { x: WIDTH - 2, y: y(t.tok_s) - 4, "text-anchor": "end", class: "tiny" }, `now ${digits(t.tok_s)} tok/s`));
  }
  return picture;
}
