// Sliders over one deployment's fields and the site's, bars of changes with their intervals, levers.
import { element } from "/static/dom.js";
import { amount, digits, ends, percent, quantity, words } from "/static/figures.js";

const range = (low, high, steps) => (t) => low * (high / low) ** (t / steps);
const STEPS = 60, MOST_BARS = 14, MOST_COMBINED = 5;
const whole = (v) => String(Math.max(1, Math.round(v)));
// name, label, field (or site key), low and high in equal ratios, how a value is written
const SLIDERS = [
  ["Concurrency", "concurrency", 1, 1024, whole], ["Share of full load", "utilization", 0.05, 1, (v) => `${Math.round(100 * v)} %`],
  ["Input tokens", "input-tokens", 16, 131072, whole], ["Output tokens", "output-tokens", 16, 32768, whole],
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
      const now = read(field), number = parseFloat(now) * (now.endsWith("%") ? 0.01 : 1);
      shown.textContent = now || "not set";
      row.classList.toggle("unset", !now);
      if (number > 0) input.value = Math.round((STEPS * Math.log(number / low)) / Math.log(high / low));
      input.setAttribute("aria-valuetext", shown.textContent);
    };
    input.addEventListener("input", () => { write(field, text(value(Number(input.value)))); row.refresh(); });
    row.refresh();
    return row;
  }));
}

export const refreshSliders = (box) => [...box.children].forEach((row) => row.refresh());

// What a deployment does now, as rows of a name and a text: what the sliders move.
export function outcome(answer) {
  const { prediction: p, totals: t } = answer, joules = { site: p.site?.site_j_tok, node: p.node_j_tok, device: p.device_j_tok }[t.scope];
  const money = (x, unit) => `${digits(x)} ${unit}`; // no thousandths of a euro: people do not count in them
  const said = (f, show = f === t.million_tokens.cost ? money : amount) => (f.value === null ? "–" : `${show(f.value, f.unit)} (${f.low === null ? "no interval" : ends(show(f.low, f.unit), show(f.high, f.unit))})`);
  const rows = [[`J/token, ${t.scope}`, said(joules)], ["output rate", said(p.rate_tok_s)], ["TTFT", said(p.ttft_s)], ["TPOT", said(p.tpot_s)], ["active constraint", words(p.binding.name)]];
  const per = t.million_tokens;
  for (const [name, f] of [["carbon, per million tokens", per.carbon_gco2e], ["energy cost, per million tokens", per.cost]]) if (f.value !== null) rows.push([name, said(f)]);
  return rows;
}

const signed = (x) => `${x > 0 ? "+" : x < 0 ? "−" : ""}${percent(Math.abs(x))}`;
const between = (f) => (f.low === null || f.high === null ? "no interval" : ends(signed(f.low), signed(f.high)));

// Bars of relative changes, [{name, change: figure}], on a scale of equal ratios: halving is as long as doubling. The
// line over a bar is its 80 % interval.
export function bars(box, rows) {
  const ln = (x) => Math.log1p(Math.max(x, -0.99));
  const ends = rows.flatMap((r) => [0, r.change.value, r.change.low ?? 0, r.change.high ?? 0]).map(ln);
  const low = Math.min(...ends, -0.02), high = Math.max(...ends, 0.02);
  const at = (x) => (100 * (ln(x) - low)) / (high - low);
  box.replaceChildren(...rows.flatMap((r) => {
    const track = element("div", "track change"), fill = part("fill", at, 0, r.change.value), none = element("i", "none");
    fill.classList.add(r.change.value < 0 ? "less" : "more");
    none.style.left = `${at(0)}%`;
    track.append(fill, none);
    if (r.change.low !== null && r.change.high !== null) track.append(part("interval", at, r.change.low, r.change.high));
    const n = element("span", "n", signed(r.change.value));
    n.append(element("span", "range", between(r.change)));
    n.title = r.change.source || "";
    return [element("span", "name", r.name), track, n];
  }));
}

function part(kind, at, from, to) {
  const made = element("div", kind), left = Math.min(at(from), at(to));
  made.style.left = `${left}%`;
  made.style.width = `${Math.abs(at(to) - at(from))}%`;
  return made;
}

export function drawLevers(study, box, list, note) {
  const applied = study.levers.filter((l) => l.energy_change && l.energy_change.value !== null);
  const rows = applied.map((l) => ({ name: l.label, change: l.energy_change }));
  bars(box, rows.sort((a, b) => a.change.value - b.change.value).slice(0, MOST_BARS));
  const labels = Object.fromEntries(study.levers.map((l) => [l.name, l.label]));
  list.replaceChildren(...(study.distinct || study.combinations).slice(0, MOST_COMBINED).map((c) => {
    const item = element("li", "", `${c.levers.map((n) => labels[n] || n).join(" + ")}: J/token `), apart = c.levers.length > 1 ? `; their individual effects multiplied: ${signed(c.multiplied_change_ratio)}` : "";
    item.append(element("b", "", signed(c.energy_change_ratio)), element("span", "range", `${amount(c.after.energy_j_tok, "J/tok")}, ${quantity(c.after.rate_tok_s, "tok/s")}; modelled, no interval${apart}`.replaceAll(" %", "\u00a0%")));
    return item;
  }));
  const left = study.levers.length - applied.length;
  note.textContent = `Change of J/token${study.before?.scope ? ` at ${study.before.scope} scope` : ""} by each of ${applied.length} levers, the best ${Math.min(applied.length, MOST_BARS)} shown; ${left} do not apply. ${study.interval}`;
}

export const changeOf = (row) => ({ name: `${row.name} → ${row.to}${row.meets ? "" : " (misses what is asked)"}`, change: row.energy_change });

export function sensitivityNote(s) {
  const j = s.energy_j_tok, now = `${amount(j.value, "J/tok")}${j.low === null ? "" : `, ${ends(amount(j.low, "J/tok"), amount(j.high, "J/tok"))}`}, ${j.basis}`;
  return `Change of J/token at ${s.scope} scope (now ${now}) when one input changes. The line is the 80 % interval of the change: from measured pairs of runs, or half of the effect where there are none.`;
}
