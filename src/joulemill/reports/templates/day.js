// The day of a simulated run: four plots with one time axis. Drag to zoom, double-click to see all of it again.
const DATA = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const PLOTS = [
  { id: "power", unit: "W", lines: [["site_w", "site", "--bind"], ["node_w", "nodes", "--accent"], ["device_w", "devices", "--measured"]], limit: true, free: "widest" },
  { id: "tokens", unit: "tok/s", lines: [["output_tok_s", "output", "--accent"], ["prefill_tok_s", "prompts, computed", "--modelled"], ["cached_tok_s", "prompts, cached", "--declared"]] },
  { id: "requests", unit: "req", lines: [["decode_req", "decoding", "--accent"], ["waiting_req", "waiting", "--bind"]] },
  { id: "state", unit: "", lines: [["kv_share", "KV cache used", "--calibrated"], ["utilization", "U, of full load", "--accent"], ["serving_share", "replicas that serve", "--datasheet"]], share: true },
];
const HEIGHT = 200;
let policy = DATA.shown, plots = [], zoom = null;

const STEPS_S = [0.25, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800];

function short(value, unit) {
  if (value === null || value === undefined) return "–";
  if (!unit) return `${(100 * value).toFixed(value < 0.1 ? 1 : 0)} %`;
  const [factor, prefix] = [[1e9, "G"], [1e6, "M"], [1e3, "k"]].find(([f]) => Math.abs(value) >= f) || [1, ""];
  const n = value / factor;
  return `${Math.abs(n) >= 100 ? n.toFixed(0) : Math.abs(n) >= 10 ? n.toFixed(1) : n.toFixed(2)} ${prefix}${unit}`.trim();
}

function tick(value, unit) {
  if (!unit) return `${Math.round(100 * value)} %`;
  const [factor, prefix] = [[1e9, "G"], [1e6, "M"], [1e3, "k"]].find(([f]) => Math.abs(value) >= f) || [1, ""];
  return `${Number((value / factor).toPrecision(3))}${prefix && ` ${prefix}`}`;
}

function clock(t) {
  const at = Math.round(t + DATA.start_s), two = (n) => String(Math.floor(n)).padStart(2, "0");
  if (DATA.duration_s >= 7200) return `${two((at / 3600) % 24)}:${two((at / 60) % 60)}`;
  return `${two(t / 60)}:${two(t % 60)}`;
}

function bands(plot) {
  const { ctx, bbox } = plot, paint = color("--window");
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
  for (const event of DATA.events) {
    const from = plot.valToPos(event.start_s, "x", true), to = plot.valToPos(event.end_s, "x", true);
    ctx.fillStyle = paint;
    ctx.fillRect(from, bbox.top, to - from, bbox.height);
    if (plot.named) { ctx.fillStyle = color("--quiet"); ctx.font = `${11 * devicePixelRatio}px system-ui`; ctx.fillText(event.name, from + 4, bbox.top + bbox.height - 6 * devicePixelRatio); }
  }
  ctx.restore();
}

function stripe(plot) {
  const codes = DATA.series[policy].constraint, times = DATA.series[policy].t_s, { ctx, bbox } = plot;
  const [low, high] = [plot.scales.x.min, plot.scales.x.max], tall = 7 * devicePixelRatio;
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
  times.forEach((t, i) => {
    const end = i + 1 < times.length ? times[i + 1] : DATA.duration_s;
    if (end < low || t > high) return;
    const from = plot.valToPos(t, "x", true), to = plot.valToPos(end, "x", true);
    ctx.fillStyle = color(DATA.constraints[codes[i]][1]);
    ctx.fillRect(from, bbox.top + bbox.height - tall, Math.max(to - from, 1), tall);
  });
  ctx.restore();
}

function columns(spec) {
  const own = DATA.series[policy], free = DATA.series.none;
  const data = [own.t_s, ...spec.lines.map(([name]) => own[name])];
  if (spec.free && policy !== "none") data.push(own.t_s.map((_, i) => free[`${DATA.widest}_w`][i] ?? null));
  if (spec.limit && DATA.limit) data.push(own.t_s.map((t) => limitAt(t)));
  return data;
}

function limitAt(t) {
  const event = DATA.limit.find((l) => t >= l.start_s && t < l.end_s);
  return event ? event.limit_w : null;
}

function series(spec) {
  const lines = spec.lines.map(([, label, name]) => ({ label, stroke: color(name), width: 1.5, points: { show: false } }));
  if (spec.free && policy !== "none") lines.push({ label: "without a policy", stroke: color("--quiet"), width: 1, dash: [4, 3], points: { show: false } });
  if (spec.limit && DATA.limit) lines.push({ label: "limit", stroke: color("--warn"), width: 2, points: { show: false } });
  return lines;
}

function legend(spec, lines, known) {
  $(`keys-${spec.id}`).replaceChildren(...lines.flatMap((line, i) => {
    if (!known[i]) return [];
    const item = document.createElement("span"), mark = document.createElement("i");
    mark.style.background = line.stroke;
    item.append(mark, line.label);
    return [item];
  }));
}

function read(spec, plot) {
  const i = plot.cursor.idx;
  $(`read-${spec.id}`).textContent = i === null || i === undefined ? "" : `${clock(plot.data[0][i])} · ${plot.series.slice(1).map((s, k) => [s, plot.data[k + 1][i]]).filter(([, v]) => v !== null && v !== undefined).map(([s, v]) => `${s.label} ${short(v, spec.unit)}`).join(" · ")}`;
}

function follow(source) {
  const { min, max } = source.scales.x;
  if (zoom && zoom[0] === min && zoom[1] === max) return;
  zoom = [min, max];
  for (const other of plots) if (other !== source) other.setScale("x", { min, max });
}

function draw() {
  for (const plot of plots) plot.destroy();
  plots = [];
  const ink = color("--quiet"), line = color("--line");
  const axis = { stroke: ink, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 }, font: "11px system-ui" };
  const drawn = PLOTS.map((spec) => {
    const box = $(`plot-${spec.id}`), data = columns(spec), lines = series(spec);
    legend(spec, lines, data.slice(1).map((c) => c.some((v) => v !== null)));
    const plot = new uPlot({
      width: box.clientWidth, height: HEIGHT, legend: { show: false }, cursor: { y: false, sync: { key: "day" }, drag: { x: true, y: false } },
      scales: { x: { time: false }, y: { range: (_, low, high) => [0, (high > 0 ? high : 1) * 1.06] } },
      axes: [{ ...axis, values: (_, ticks) => ticks.map(clock), space: 60, incrs: STEPS_S }, { ...axis, size: 54, values: (_, ticks) => ticks.map((v) => tick(v, spec.unit)) }],
      series: [{}, ...lines],
      hooks: { drawClear: [(p) => { p.named = spec.id === "power"; bands(p); }], draw: spec.share ? [stripe] : [], setCursor: [(p) => read(spec, p)], setScale: [(p, key) => { if (key === "x" && plots.length === PLOTS.length) follow(p); }] },
    }, data, box);
    return plot;
  });
  plots = drawn;
  if (zoom) for (const plot of plots) plot.setScale("x", { min: zoom[0], max: zoom[1] });
}

function choose(name) {
  policy = name;
  for (const button of document.querySelectorAll(".choices button[data-policy]")) button.setAttribute("aria-pressed", String(button.dataset.policy === name));
  for (const row of document.querySelectorAll("tr[data-policy]")) row.classList.toggle("shown", row.dataset.policy === name);
  draw();
}

for (const button of document.querySelectorAll(".choices button[data-policy]")) button.addEventListener("click", () => choose(button.dataset.policy));
const all = $("all");
if (all) all.addEventListener("click", () => { zoom = null; draw(); });
addEventListener("resize", () => { for (const [i, plot] of plots.entries()) plot.setSize({ width: $(`plot-${PLOTS[i].id}`).clientWidth, height: HEIGHT }); });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
choose(policy);
