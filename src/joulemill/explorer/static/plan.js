// A plan: its file planned by the server, limits moved by sliders, shadow prices in words.
import { element, svg } from "/static/dom.js";
import { digits, quantity } from "/static/figures.js";
import { hold } from "/explorer/copying.js";
import { onDrop } from "/explorer/dropping.js";

const $ = (id) => document.getElementById(id);
const STEPS = 40; // a limit from a quarter to four times what the file states, in equal ratios
let text = null, name = "", moved = new Map(), waiting = null, asked = 0;

export function listenPlan() {
  $("plan-file").addEventListener("change", () => take($("plan-file").files[0]));
  onDrop($("plan-drop"), (transfer) => take(transfer.files[0]));
}

async function take(file) {
  if (!file) return;
  text = await file.text();
  name = file.name;
  $("plan-name").textContent = name;
  $("plan-file").value = "";
  moved = new Map();
  $("plan-line").textContent = "Planning: predictions of every deployment, then the program …";
  await ask(true);
}

async function ask(first) {
  const mine = ++asked, changes = new URLSearchParams([["name", name], ...[...moved].map(([limit, w]) => ["change", `${limit}=${(w / 1e3).toPrecision(6)}kW`])]);
  const answer = await fetch(`/api/plan?${changes}`, { method: "POST", body: text }).then((r) => r.json()).catch(() => ({ error: { message: "the server does not answer" } }));
  if (mine !== asked) return;
  const message = answer.error && (answer.error.message || answer.error);
  $("plan-line").textContent = message || answer.line;
  $("plan-line").classList.toggle("bad", Boolean(message));
  if (message) return;
  $("plan").hidden = false;
  if (first) limits(answer.limits);
  hold("plan", [answer.copy]);
  draw(answer);
}

const named = (limit, of) => { const text = limit.replaceAll("_", " ").replace(/^it /, "IT ").replace(/^slo /, "SLO "); return `${of ? `${of}: ` : ""}${text}`; };

function limits(list) {
  $("plan-limits").replaceChildren(...list.map((limit) => {
    const row = element("label", "slider"), input = element("input"), shown = element("output", "", quantity(limit.value_w, "W"));
    Object.assign(input, { type: "range", min: -STEPS / 2, max: STEPS / 2, step: 1, value: 0 });
    row.append(element("span", "", named(limit.change.split(".").pop(), limit.change.split(".").slice(1, -1).join("."))), input, shown);
    input.addEventListener("input", () => {
      const w = limit.value_w * 4 ** (Number(input.value) / (STEPS / 2));
      if (Number(input.value) === 0) moved.delete(limit.change); else moved.set(limit.change, w);
      shown.textContent = quantity(w, "W");
      input.setAttribute("aria-valuetext", shown.textContent);
      clearTimeout(waiting);
      waiting = setTimeout(() => ask(false), 60);
    });
    return row;
  }));
}

function draw(answer) {
  $("plan-flows").replaceChildren(answer.flows.length ? drawFlows(answer) : element("p", "quiet", "Nothing is served."));
  prices(answer.constraints);
  $("plan-notes").replaceChildren(...answer.notes.map((n) => element("li", "", n)));
  $("plan-prices").replaceChildren(...(answer.sentences.length ? answer.sentences : ["No limit is active: more of any of them buys nothing."]).map((s) => element("li", "", s)));
  const most = Math.max(...answer.power.map((p) => Math.max(p.limit_w || 0, p.it_w || 0)), 1);
  $("plan-power").replaceChildren(...answer.power.flatMap((p) => {
    const track = element("div", "track"), fill = element("div", `fill${p.limit_w && p.it_w >= 0.999 * p.limit_w ? " bind" : ""}`);
    fill.style.width = `${(100 * (p.it_w || 0)) / most}%`;
    track.append(fill);
    return [element("span", "name", p.site), track, element("span", "n", `${quantity(p.it_w, "W")} of ${p.limit_w ? quantity(p.limit_w, "W") : "no limit"}`)];
  }));
  const head = element("tr");
  for (const name of ["Site", "Pool", "Model", "Deployment", "Replicas", "Concurrency", "tok/s", "Power"]) { const c = element("th", "", name); c.scope = "col"; head.append(c); }
  $("plan-replicas").replaceChildren(head, ...answer.replicas.map((r) => {
    const row = element("tr");
    row.append(...[r.site, r.pool, r.model, r.deployment, digits(r.count), digits(r.concurrency), quantity(r.rate_tok_s, "tok/s"), quantity(r.power_w, "W")].map((t) => element("td", "", t)));
    return row;
  }));
}

// Every limit that has a price, or that was moved: what is left of it, what one more is worth, and in which range.
function prices(constraints) {
  const head = element("tr"), price = (x, unit) => (x === null ? "–" : `${x === 0 ? "0" : digits(x)} ${unit}`);
  for (const title of ["Limit", "Value", "Left", "Shadow price", "Holds from", "to"]) { const c = element("th", "", title); c.scope = "col"; head.append(c); }
  const kept = constraints.filter((c) => c.active || c.unit === "W");
  $("plan-constraints").replaceChildren(head, ...kept.map((c) => {
    const row = element("tr"), title = element("th", "", named(c.name, c.subject));
    title.scope = "row";
    const texts = [said(c.value, c.unit), said(c.slack, c.unit), price(c.shadow_price, c.price_unit), said(c.valid_from, c.unit), said(c.valid_to, c.unit)];
    row.append(title, ...texts.map((t) => element("td", "", t)));
    if (c.active) row.className = "active";
    return row;
  }));
}

const PREFIXED = ["W", "tok/s", "gCO2e/s"];
const said = (x, unit) => (x === null || x === undefined ? "–" : PREFIXED.includes(unit) ? quantity(x, unit) : `${digits(x)} ${unit}`);

// Demands on the left, sites on the right; a band is as thick as the tokens that flow.
const FW = 640, NODE = 10, GAP = 26, FTOP = 18;

function drawFlows({ flows }) {
  const demands = [...new Set(flows.map((f) => f.demand))], sites = [...new Set(flows.map((f) => f.site))];
  const sum = (list) => list.reduce((a, f) => a + f.rate_tok_s, 0), all = sum(flows);
  const thick = 150, height = FTOP + thick + GAP * Math.max(demands.length, sites.length) + 8, size = (v) => (thick * v) / all;
  const picture = svg("svg", { viewBox: `0 0 ${FW} ${height}`, role: "img", "aria-label": flows.map((f) => `${f.demand} at ${f.site}: ${quantity(f.rate_tok_s, "tok/s")}`).join("; ") });
  const place = (names, key) => {
    let y = FTOP;
    return new Map(names.map((n) => { const v = sum(flows.filter((f) => f[key] === n)), at = { top: y, next: y, size: size(v), v }; y += at.size + GAP; return [n, at]; }));
  };
  const left = place(demands, "demand"), right = place(sites, "site"), x0 = 12, x1 = FW - 12 - NODE, middle = (x0 + x1) / 2;
  flows.forEach((f) => {
    const a = left.get(f.demand), b = right.get(f.site), h = size(f.rate_tok_s), y0 = a.next + h / 2, y1 = b.next + h / 2;
    a.next += h; b.next += h;
    const band = svg("path", { d: `M${x0 + NODE},${y0}C${middle},${y0} ${middle},${y1} ${x1},${y1}`, class: "flow", "stroke-width": Math.max(h, 1), stroke: `var(--l${demands.indexOf(f.demand) % 8})` });
    band.append(svg("title", {}, `${f.demand} at ${f.site}: ${quantity(f.rate_tok_s, "tok/s")}`));
    picture.append(band);
  });
  for (const [nodes, x, anchor] of [[left, x0, "start"], [right, x1, "end"]]) for (const [n, at] of nodes) {
    picture.append(svg("rect", { x, y: at.top, width: NODE, height: Math.max(at.size, 1), class: "node" }));
    picture.append(svg("text", { x: anchor === "start" ? x : x + NODE, y: at.top - 5, "text-anchor": anchor }, `${n}: ${quantity(at.v, "tok/s")}`));
  }
  return picture;
}
