// A table of any length: only the rows in sight are in the page. Arrow keys, Home, End and Page keys choose.
import { DASH, digits, energyOf, percent, percentiles, quantity, words } from "./figures.js";
import { element } from "./dom.js";

const HEIGHT = 34;
const COLUMNS = [
  { title: "target", text: (t) => t.name, key: (t) => t.name },
  { title: "model", kind: "mid", text: (t) => t.model, key: (t) => t.model },
  { title: "site", kind: "minor", text: (t) => t.site, key: (t) => t.site },
  { title: "tok/s", kind: "n", text: (t) => digits(t.tok_s), key: (t) => t.tok_s },
  { title: "J/tok", kind: "n", text: (t) => { const e = energyOf(t); return e ? digits(e.j_tok) : DASH; }, key: (t) => energyOf(t)?.j_tok ?? null,
    note: (t) => { const e = energyOf(t); return e ? `${e.scope}, ${e.basis}${e.half === null ? "" : ` ± ${percent(e.half)}`}` : "not metered"; } },
  { title: "W", kind: "n mid", text: (t) => { const e = energyOf(t); return e ? digits(e.w) : DASH; }, key: (t) => energyOf(t)?.w ?? null },
  { title: "binds", kind: "after", text: (t) => (t.up ? words(t.binding) || DASH : `down: ${t.reason}`), key: (t) => (t.up ? t.binding : "~down") },
  { title: "running", kind: "n minor", text: (t) => digits(t.running), key: (t) => t.running },
  { title: "TTFT", kind: "n minor", text: (t) => quantity(t.ttft_s, "s"), key: (t) => t.ttft_s,
    note: (t) => `mean${percentiles(t, "ttft")}` },
  { title: "idle", kind: "n minor", text: (t) => percent(t.idle), key: (t) => t.idle },
];

export class Table {
  constructor(box, head, body, spacer, choose) {
    Object.assign(this, { box, body, spacer, choose, all: [], seen: [], words: [], sort: 3, down: true, chosen: null, pool: [] });
    COLUMNS.forEach((c, i) => {
      const cell = element("span", c.kind || "");
      cell.setAttribute("role", "columnheader");
      const button = element("button", "", c.title);
      button.type = "button";
      button.addEventListener("click", () => { this.down = this.sort === i ? !this.down : i > 2; this.sort = i; this.arrange(); });
      cell.append(button);
      head.append(cell);
    });
    this.heads = [...head.children];
    body.addEventListener("scroll", () => this.paint(), { passive: true });
    new ResizeObserver(() => this.paint()).observe(body);
    box.addEventListener("keydown", (e) => this.key(e));
    body.addEventListener("click", (e) => { const row = e.target.closest(".row"); if (row) this.choose(row.dataset.name); });
  }

  get count() { return this.seen.length; }

  filter(text) {
    this.words = text.toLowerCase().split(/\s+/).filter(Boolean);
    this.body.scrollTop = 0;
    this.arrange();
  }

  show(targets, chosen) {
    this.all = targets;
    this.chosen = chosen;
    this.arrange();
  }

  arrange() {
    const text = (t) => `${t.name} ${t.model} ${t.site} ${t.node || ""} ${t.device || ""} ${t.up ? words(t.binding) || "not known" : "down"} ${Object.values(t.labels).join(" ")}`.toLowerCase();
    this.seen = this.words.length ? this.all.filter((t) => { const s = text(t); return this.words.every((w) => s.includes(w)); }) : [...this.all];
    const key = COLUMNS[this.sort].key, sign = this.down ? -1 : 1;
    const keyed = this.seen.map((t) => [key(t), t]);
    keyed.sort(([a, s], [b, t]) => {
      if (s.up !== t.up) return s.up ? 1 : -1; // whatever the order, those that are down come first
      if (a === null || b === null) return (a === null) - (b === null) || (s.name < t.name ? -1 : 1); // unknown comes last
      return a < b ? -sign : a > b ? sign : s.name < t.name ? -1 : 1;
    });
    this.seen = keyed.map(([, t]) => t);
    this.heads.forEach((h, i) => h.setAttribute("aria-sort", i === this.sort ? (this.down ? "descending" : "ascending") : "none"));
    this.spacer.style.height = `${this.seen.length * HEIGHT}px`;
    this.box.setAttribute("aria-rowcount", String(this.seen.length + 1));
    this.paint();
  }

  paint() {
    const first = Math.max(0, Math.floor(this.body.scrollTop / HEIGHT) - 4);
    const last = Math.min(this.seen.length, first + Math.ceil(this.body.clientHeight / HEIGHT) + 8);
    while (this.pool.length < last - first) this.pool.push(this.row());
    this.pool.forEach((row, i) => {
      const t = this.seen[first + i];
      row.hidden = first + i >= last;
      if (row.hidden) return;
      row.style.top = `${(first + i) * HEIGHT}px`;
      row.dataset.name = t.name;
      row.id = `row-${first + i}`;
      row.classList.toggle("down", !t.up);
      row.setAttribute("aria-selected", String(t.name === this.chosen));
      row.setAttribute("aria-rowindex", String(first + i + 2));
      COLUMNS.forEach((c, n) => {
        const cell = row.children[n], text = c.text(t);
        if (cell.textContent !== text) cell.textContent = text;
        cell.title = c.note ? c.note(t) : text;
      });
    });
    const at = this.seen.findIndex((t) => t.name === this.chosen);
    if (at >= first && at < last) this.box.setAttribute("aria-activedescendant", `row-${at}`);
    else this.box.removeAttribute("aria-activedescendant");
  }

  row() {
    const row = element("div", "row");
    row.setAttribute("role", "row");
    for (const c of COLUMNS) {
      const cell = element("span", c.kind || "");
      cell.setAttribute("role", "gridcell");
      row.append(cell);
    }
    this.body.append(row);
    return row;
  }

  key(e) {
    if (e.target !== this.box) return;
    const page = Math.max(1, Math.floor(this.body.clientHeight / HEIGHT) - 1);
    const at = this.seen.findIndex((t) => t.name === this.chosen);
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -1e9, End: 1e9 }[e.key];
    if (step === undefined || !this.seen.length) return;
    e.preventDefault();
    const next = Math.min(Math.max(at + step, 0), this.seen.length - 1);
    const top = next * HEIGHT;
    if (top < this.body.scrollTop) this.body.scrollTop = top;
    else if (top + HEIGHT > this.body.scrollTop + this.body.clientHeight) this.body.scrollTop = top + HEIGHT - this.body.clientHeight;
    this.choose(this.seen[next].name);
  }
}
