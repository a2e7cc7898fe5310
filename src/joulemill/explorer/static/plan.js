// A plan: its file planned by the server, limits moved by sliders, shadow prices in words.
import { element } from "/shared/dom.js";
import { digits, quantity } from "/shared/figures.js";

const $ = (id) => document.getElementById(id);
const STEPS = 40; // a limit from a quarter to four times what the file states, in equal ratios
let text = null, moved = new Map(), waiting = null, asked = 0;

export function listenPlan() {
  $("plan-file").addEventListener("change", () => take($("plan-file").files[0]));
  const drop = $("plan-drop");
  drop.addEventListener("dragover", (e) => { e.preventDefault(); drop.classList.add("over"); });
  drop.addEventListener("dragleave", () => drop.classList.remove("over"));
  drop.addEventListener("drop", (e) => { e.preventDefault(); drop.classList.remove("over"); take(e.dataTransfer.files[0]); });
}

async function take(file) {
  if (!file) return;
  text = await file.text();
  moved = new Map();
  $("plan-line").textContent = "Planning: predictions of every deployment, then the program …";
  await ask(true);
}

async function ask(first) {
  const mine = ++asked, changes = new URLSearchParams([...moved].map(([name, w]) => ["change", `${name}=${(w / 1e3).toPrecision(6)}kW`]));
  const answer = await fetch(`/api/plan?${changes}`, { method: "POST", body: text }).then((r) => r.json()).catch(() => ({ error: { message: "the server does not answer" } }));
  if (mine !== asked) return;
  const message = answer.error && (answer.error.message || answer.error);
  $("plan-line").textContent = message || answer.line;
  $("plan-line").classList.toggle("bad", Boolean(message));
  if (message) return;
  $("plan").hidden = false;
  if (first) limits(answer.limits);
  draw(answer);
}

function limits(list) {
  $("plan-limits").replaceChildren(...list.map((limit) => {
    const row = element("label", "slider"), input = element("input"), shown = element("output", "", quantity(limit.value_w, "W"));
    Object.assign(input, { type: "range", min: -STEPS / 2, max: STEPS / 2, step: 1, value: 0 });
    row.append(element("span", "", limit.change.replace(/^site\./, "").replaceAll("_", " ").replace(".", ": ")), input, shown);
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
