// Fields of deployments and of the site, with what is wrong beside the field.
import { element } from "/static/dom.js";

const LABELS = {
  model: "Model", device: "Device", devices: "Devices", precision: "Precision", concurrency: "Concurrency", rate: "Rate offered",
  "input-tokens": "Input tokens", "output-tokens": "Output tokens", "power-cap": "Power cap", "slo-ttft": "TTFT SLO",
  "slo-tpot": "TPOT SLO", tp: "tp", dp: "dp", ep: "ep", "kv-dtype": "KV dtype", engine: "Engine", "output-spread": "Output spread",
  cached: "Cached share", "max-num-seqs": "max_num_seqs", "max-num-batched-tokens": "max_num_batched_tokens", "gpu-memory-utilization": "gpu_memory_utilization",
  pue: "PUE", it_power_limit: "IT power limit", facility_power_limit: "Feed limit", cooling_limit: "Cooling limit",
  carbon_gco2e_kwh: "Carbon, gCO2e/kWh", price_currency_kwh: "Price per kWh", currency: "Currency", water_l_kwh: "WUE, l/kWh",
};
// What an empty field may hold, or what is taken where it is empty.
const EXAMPLES = {
  devices: "1", precision: "as released", concurrency: "most that fits", rate: "e.g. 5req/s", "power-cap": "e.g. 500W", "slo-ttft": "e.g. 1s", "slo-tpot": "e.g. 30ms", engine: "vllm", cached: "e.g. 50%", tp: "chosen", dp: "1", ep: "1", "kv-dtype": "as released",
  "output-spread": "0", "max-num-seqs": "1024", "max-num-batched-tokens": "8192", "gpu-memory-utilization": "0.9",
  pue: "e.g. 1.2", it_power_limit: "e.g. 40 kW", facility_power_limit: "e.g. 60 kW", cooling_limit: "e.g. 50 kW", carbon_gco2e_kwh: "e.g. 350", price_currency_kwh: "e.g. 0.12", currency: "e.g. EUR", water_l_kwh: "e.g. 0.5",
};
const FIRST = ["model", "device", "devices", "precision", "concurrency", "input-tokens", "output-tokens", "power-cap", "slo-ttft", "slo-tpot"];
const LISTS = { model: "models", device: "devices-list", engine: "engines", precision: "precisions" };

export const label = (name) => LABELS[name.replace(/^site\./, "")] || name;

function field(id, name, value, changed) {
  const box = element("label", `field${name === "model" ? " broad" : name === "device" ? " double" : ""}`), input = element("input"), error = element("span", "error");
  box.append(element("span", "", label(name)), input, error);
  Object.assign(input, { id, value: value ?? "", autocomplete: "off", spellcheck: false, maxLength: 200, placeholder: EXAMPLES[name.replace(/^site\./, "")] || "" });
  input.dataset.field = name;
  if (LISTS[name]) input.setAttribute("list", LISTS[name]);
  error.id = `${id}-error`;
  input.setAttribute("aria-describedby", error.id);
  input.addEventListener("input", () => changed(name, input.value.trim()));
  return box;
}

// `options`: names of a deployment's fields, and keys of a site.
export function deploymentForm(index, deployment, options, act) {
  const form = element("fieldset");
  form.style.setProperty("--own", `var(--l${index})`);
  form.append(element("legend", "", `Deployment ${index + 1}`));
  const first = element("div", "fields"), more = element("div", "fields");
  for (const name of FIRST) first.append(field(`d${index}-${name}`, name, deployment[name], act.changed));
  const others = options.fields.filter((n) => !FIRST.includes(n));
  for (const name of others) more.append(field(`d${index}-${name}`, name, deployment[name], act.changed));
  const details = folded("Parallelism, engine, load", more, others.some((n) => deployment[n]));
  const place = element("div", "fields"), keys = options.site_keys.map((k) => `site.${k}`);
  for (const key of keys) place.append(field(`d${index}-${key}`, key, deployment[key], act.changed));
  const site = folded("A site of its own", place, keys.some((k) => deployment[k]));
  const buttons = element("div", "buttons");
  for (const [text, run] of [["Copy beside", act.copied], ["Remove", act.removed]]) {
    const button = element("button", "", text);
    button.type = "button";
    button.setAttribute("aria-label", `${text} deployment ${index + 1}`);
    button.addEventListener("click", run);
    buttons.append(button);
  }
  const general = element("p", "error");
  general.id = `d${index}-error`;
  general.setAttribute("role", "status");
  form.append(first, details, site, general, buttons);
  return form;
}

function folded(title, content, open) {
  const details = element("details");
  details.open = open;
  details.append(element("summary", "", title), content);
  return details;
}

export function siteForm(box, keys, site, changed) {
  box.replaceChildren(...keys.map((key) => field(`site-${key}`, key, site[key], changed)));
}

// The fault beside its field, else below the form. null: nothing is wrong.
export function showFault(index, fault) {
  const form = document.getElementById("deployments").children[index];
  if (!form) return;
  const site = document.getElementById("site");
  for (const input of [...form.querySelectorAll("input"), ...(index === 0 ? site.querySelectorAll("input") : [])]) mark(input, "");
  const general = document.getElementById(`d${index}-error`);
  general.textContent = "";
  if (!fault) return;
  const mine = document.getElementById(`d${index}-${fault.field}`), common = fault.field.startsWith("site.") && document.getElementById(`site-${fault.field.slice(5)}`);
  const input = fault.field && (common && !mine?.value ? common : mine);
  if (!input) { general.textContent = fault.message; return; }
  const closed = input.closest("details");
  if (closed) closed.open = true;
  mark(input, fault.message);
}

function mark(input, message) {
  if (message) input.setAttribute("aria-invalid", "true"); else input.removeAttribute("aria-invalid");
  document.getElementById(`${input.id}-error`).textContent = message;
}

export function datalists(options) {
  const precisions = ["bf16", "fp16", "fp8", "nvfp4", "mxfp4", "int8", "int4"];
  for (const [id, values] of [["models", options.models], ["devices-list", options.devices], ["engines", options.engines], ["precisions", precisions]]) {
    const list = element("datalist");
    list.id = id;
    for (const value of values) { const option = element("option"); option.value = value; list.append(option); }
    document.body.append(list);
  }
}
