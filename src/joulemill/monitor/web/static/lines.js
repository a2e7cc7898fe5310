// Lines over time: from the history where there is one, else from what came since the page was opened.
import { element } from "./dom.js";
import { digits, ratio, span, sum } from "./figures.js";

const BY = ["model", "site", "target"];
const SPANS = [[1, "1 h"], [6, "6 h"], [24, "24 h"], [168, "7 d"], [2160, "90 d"]];
const KEPT = 720;
const MOST = 8;

export class Lines {
  constructor($, now) {
    Object.assign(this, { $, now, by: "model", hours: 6, plots: {}, live_: new Map(), history: false, asked: 0 });
    this.choices("by", BY.map((b) => [b, b]), (b) => { this.by = b; this.live_.clear(); });
    this.choices("span", SPANS, (h) => { this.hours = h; });
    addEventListener("resize", () => this.resize());
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.load());
    setInterval(() => { if (!document.hidden) this.load(); }, 30000);
  }

  choices(id, options, choose) {
    const box = this.$(id), field = id === "by" ? "by" : "hours";
    for (const [value, text] of options) {
      const button = element("button", "", text);
      button.type = "button";
      button.setAttribute("aria-pressed", String(this[field] === value));
      button.addEventListener("click", () => {
        choose(value);
        for (const other of box.children) other.setAttribute("aria-pressed", String(other === button));
        this.load();
      });
      box.append(button);
    }
  }

  async load() {
    const asked = ++this.asked;
    let found = null;
    try {
      const answer = await fetch(`/api/series?hours=${this.hours}&by=${this.by}`);
      if (answer.ok) found = await answer.json();
    } catch { /* the state line says that nothing answers */ }
    if (asked !== this.asked || !found) return;
    this.history = found.kept;
    if (!found.kept) { this.$("time-note").textContent = "No history is kept (--store FILE keeps it): lines begin when this page was opened."; this.drawLive(); return; }
    const most = found.left_out ? ` The ${MOST} with most tokens of ${MOST + found.left_out}.` : "";
    const scopes = [...new Set(found.lines.filter((l) => l.scope).map((l) => `${l.scope}, ${l.basis.join(" + ")}`))];
    this.$("time-note").textContent = `Steps of ${span(found.lines[0]?.step_s || 300)}. Joules: ${scopes.join("; ") || "none known"}.${most}`;
    this.draw(found.lines);
  }

  live(now) {
    const groups = new Map();
    for (const t of now.targets) {
      const name = this.by === "target" ? t.name : t[this.by];
      if (!groups.has(name)) groups.set(name, []);
      groups.get(name).push(t);
    }
    const size = (ts) => sum(ts.map((t) => t.tok_s || 0));
    const largest = [...groups].sort((a, b) => size(b[1]) - size(a[1])).slice(0, MOST);
    for (const [name, targets] of largest) {
      if (!this.live_.has(name)) this.live_.set(name, { name, step_s: 1e9, t: [], tok_s: [], j_tok: [] });
      const line = this.live_.get(name), rates = targets.filter((t) => t.tok_s !== null);
      line.t.push(now.at_s);
      line.tok_s.push(rates.length ? size(rates) : null);
      line.j_tok.push(ratio(targets).j_tok);
      if (line.t.length > KEPT) for (const k of ["t", "tok_s", "j_tok"]) line[k].shift();
    }
    if (!this.history) this.drawLive();
  }

  drawLive() { if (!this.history && this.live_.size) this.draw([...this.live_.values()].slice(0, MOST)); }

  draw(lines) {
    const times = [...new Set(lines.flatMap((l) => this.withHoles(l).t))].sort((a, b) => a - b);
    const at = new Map(times.map((t, i) => [t, i]));
    for (const field of ["j_tok", "tok_s"]) {
      const data = [times, ...lines.map((l) => {
        const column = new Array(times.length).fill(undefined); // no point of this line; null is a hole
        const holed = this.withHoles(l);
        holed.t.forEach((t, i) => { column[at.get(t)] = holed[field][i]; });
        return column;
      })];
      this.plot(field, data, lines);
    }
    const style = getComputedStyle(document.documentElement);
    this.$("legend").replaceChildren(...lines.map((l, i) => {
      const item = element("li"), mark = element("i");
      mark.style.color = style.getPropertyValue(`--l${i}`);
      const last = [...l.j_tok].reverse().find((x) => x !== null && x !== undefined);
      item.append(mark, element("span", "", l.name), element("span", "quiet", ` ${last === undefined ? "J/tok unknown" : `${digits(last)} J/tok`}`));
      return item;
    }));
  }

  // A step that is missing between two others is unobserved time: the line must not cross it.
  withHoles(l) {
    const out = { t: [], j_tok: [], tok_s: [] };
    l.t.forEach((t, i) => {
      if (i && t - l.t[i - 1] > 1.5 * l.step_s) { out.t.push(l.t[i - 1] + l.step_s); out.j_tok.push(null); out.tok_s.push(null); }
      out.t.push(t); out.j_tok.push(l.j_tok[i]); out.tok_s.push(l.tok_s[i]);
    });
    return out;
  }

  plot(field, data, lines) {
    const box = this.$(`plot-${field}`), style = getComputedStyle(document.documentElement);
    const key = JSON.stringify([lines.map((l) => l.name), style.getPropertyValue("--ink")]);
    const old = this.plots[field];
    if (old && old.key === key) { old.plot.setData(data); return; }
    if (old) old.plot.destroy();
    const ink = style.getPropertyValue("--quiet"), line = style.getPropertyValue("--line");
    const axis = { stroke: ink, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 } };
    const plot = new uPlot({
      width: box.clientWidth, height: 208, cursor: { y: false, points: { size: 6 } }, legend: { show: false },
      scales: { y: { range: (_, low, high) => [0, (high > 0 ? high : 1) * 1.08] } },
      axes: [{ ...axis }, { ...axis, size: 58, values: (_, ticks) => ticks.map((v) => (v >= 1e4 ? `${digits(v / 1e3)}k` : digits(v))) }],
      series: [{}, ...lines.map((l, i) => ({ label: l.name, stroke: style.getPropertyValue(`--l${i}`), width: 1.6, spanGaps: false, points: { show: l.t.length < 3 } }))],
    }, data, box);
    this.plots[field] = { key, plot };
  }

  resize() {
    for (const [field, { plot }] of Object.entries(this.plots)) plot.setSize({ width: this.$(`plot-${field}`).clientWidth, height: 208 });
  }
}
