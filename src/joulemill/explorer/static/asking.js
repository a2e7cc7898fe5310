// The state of the page, its address, and the questions to the server.
export const MOST = 6;
export const START = {
  deployments: [
    { model: "Qwen/Qwen3-32B", device: "h100", devices: "2", concurrency: "32", "input-tokens": "512", "output-tokens": "512" },
    { model: "Qwen/Qwen3-32B", device: "b200", devices: "1", concurrency: "32", "input-tokens": "512", "output-tokens": "512" },
  ],
  site: {}, view: {},
};

const filled = (texts) => Object.entries(texts).filter(([, value]) => value !== "");

// One deployment with its site as the server's names have it; a deployment's own site stands above the page's.
export function query(deployment, site) {
  return new URLSearchParams({ ...Object.fromEntries(filled(site).map(([k, v]) => [`site.${k}`, v])), ...Object.fromEntries(filled(deployment)) }).toString();
}

export function toHash(state) {
  const hash = new URLSearchParams(state.deployments.map((d) => ["d", new URLSearchParams(filled(d)).toString()]));
  if (filled(state.site).length) hash.set("site", new URLSearchParams(filled(state.site)).toString());
  for (const [name, value] of filled(state.view)) hash.set(name, value);
  return `#${hash}`;
}

export function fromHash(text) {
  const hash = new URLSearchParams(text.replace(/^#/, ""));
  const deployments = hash.getAll("d").slice(0, MOST).map((d) => Object.fromEntries(new URLSearchParams(d)));
  if (!deployments.length) return structuredClone(START);
  const site = Object.fromEntries(new URLSearchParams(hash.get("site") || ""));
  const view = Object.fromEntries([...hash].filter(([name]) => name !== "d" && name !== "site"));
  return { deployments, site, view };
}

// Asks once at a time for each name: a newer question ends the older one.
export class Asker {
  constructor() { this.open = new Map(); }

  // `sent`: a text that is sent along.
  async ask(name, path, sent = null) {
    this.open.get(name)?.abort();
    const control = new AbortController();
    this.open.set(name, control);
    try {
      const answer = await fetch(path, { signal: control.signal, ...(sent === null ? {} : { method: "POST", body: sent }) });
      const body = await answer.json().catch(() => ({ error: { message: `the server answers ${answer.status}`, field: "" } }));
      return control.signal.aborted ? null : body.error && typeof body.error === "string" ? { error: { message: body.error, field: "" } } : body;
    } catch (fault) {
      return fault.name === "AbortError" ? null : { error: { message: "the server does not answer; is joulemill explore still running?", field: "" } };
    }
  }
}
