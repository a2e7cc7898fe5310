// Sliders over one deployment's fields and the site's, sensitivity bars, levers.
import { element } from "/shared/dom.js";
import { digits, percent } from "/shared/figures.js";

const range = (low, high, steps) => (t) => low * (high / low) ** (t / steps);
const STEPS = 60;
const whole = (v) => String(Math.max(1, Math.round(v)));
// name, label, field (or site key), low and high in equal ratios, how a value is written
const SLIDERS = [
  ["Concurrency", "concurrency", 1, 1024, whole], ["Input tokens", "input-tokens", 16, 131072, whole], ["Output tokens", "output-tokens", 16, 32768, whole],
  ["Power cap", "power-cap", 100, 1400, (v) => `${Math.round(v / 10) * 10}W`],
  ["PUE", "site.pue", 1, 2.5, (v) => v.toFixed(2)], ["Carbon, g/kWh", "site.carbon_gco2e_kwh", 5, 1200, whole], ["Price per kWh", "site.price_currency_kwh", 0.01, 1, (v) => v.toFixed(3)],
];

export function sliders(box, read, write) {
  box.replaceChildren(...SLIDERS.map(([name, field, low, high, text]) => {
    const row = element("label", "slider"), input = element("input"), shown = element("output"), value = range(low, high, STEPS);
    Object.assign(input, { type: "range", min: 0, max: STEPS, step: 1 });
    input.dataset.slider = field;
    row.append(element("span", "", name), input, shown);
    row.refresh = () => {
      const now = read(field), number = parseFloat(now);
      shown.textContent = now || "not set";
      if (number > 0) input.value = Math.round((STEPS * Math.log(number / low)) / Math.log(high / low));
      input.setAttribute("aria-valuetext", shown.textContent);
    };
    input.addEventListener("input", () => { write(field, text(value(Number(input.value)))); row.refresh(); });
    row.refresh();
    return row;
  }));
}

export const refreshSliders = (box) => [...box.children].forEach((row) => row.refresh());

// Bars of relative changes of J/token: left of nothing there is none, so length says how much and color which way.
export function bars(box, rows) {
  const most = Math.max(...rows.map((r) => Math.abs(r.change)), 1e-9);
  box.replaceChildren(...rows.flatMap((r) => {
    const track = element("div", "track"), fill = element("div", `fill ${r.change < 0 ? "less" : "more"}`);
    fill.style.width = `${(100 * Math.abs(r.change)) / most}%`;
    track.append(fill);
    const n = element("span", "n", `${r.change > 0 ? "+" : "−"}${percent(Math.abs(r.change))}`);
    const range = r.low === undefined || r.low === null ? "" : ` (${percent(r.low)} to ${percent(r.high)})`;
    if (range) n.title = range;
    return [element("span", "name", r.name), track, n];
  }));
}

export function drawLevers(document_, box, list, note) {
  const applied = document_.levers.filter((l) => l.energy_change && l.energy_change.value !== null);
  const rows = applied.map((l) => ({ name: l.label, change: l.energy_change.value, low: l.energy_change.low, high: l.energy_change.high }));
  bars(box, rows.sort((a, b) => a.change - b.change).slice(0, 14));
  const labels = Object.fromEntries(document_.levers.map((l) => [l.name, l.label]));
  list.replaceChildren(...(document_.distinct || document_.combinations).slice(0, 5).map((c) => {
    const change = c.energy_change_ratio;
    return element("li", "", `${c.levers.map((n) => labels[n] || n).join(" + ")}: J/token ${change > 0 ? "+" : "−"}${percent(Math.abs(change))}`);
  }));
  const scope = document_.before?.scope;
  note.textContent = `Change of J/token${scope ? ` at ${scope} scope` : ""} by each lever that applies (${applied.length}); ${document_.levers.length - applied.length} do not apply. Below: the best combinations.`;
}

export const changeOf = (row) => ({ name: `${row.name} → ${row.to}`, change: row.energy_change });
export const sensitivityNote = (s) => `Change of J/token at ${s.scope} scope (${digits(s.energy_j_tok)} J/tok now) when one input changes.`;
