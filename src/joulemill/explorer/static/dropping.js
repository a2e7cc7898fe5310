// What is dropped on the page, or chosen: tables and reports as they are, a run folder as its files by name.
const MOST_BYTE = 16e6;
const RUN = /^(run\.json|[a-z]+\.jsonl)$/;

// `box` has file inputs, one of folders among them; `taken` hears the server's answer for each.
export function listenDrops(box, taken) {
  for (const input of box.querySelectorAll("input[type=file]")) {
    input.addEventListener("change", async () => {
      const files = [...input.files];
      input.value = "";
      if (input.webkitdirectory) taken(await sendRun(files, (files[0]?.webkitRelativePath || "run").split("/")[0]));
      else for (const file of files) taken(await sendFile(file));
    });
  }
  onDrop(box, async (transfer) => {
    const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean), files = [...transfer.files];
    for (const [i, entry] of entries.entries()) taken(entry.isDirectory ? await sendRun(await filesIn(entry), entry.name) : await sendFile(files[i]));
    if (!entries.length) for (const file of files) taken(await sendFile(file));
  });
}

export function onDrop(box, take) {
  box.addEventListener("dragover", (e) => { e.preventDefault(); box.classList.add("over"); });
  box.addEventListener("dragleave", () => box.classList.remove("over"));
  box.addEventListener("drop", (e) => { e.preventDefault(); box.classList.remove("over"); take(e.dataTransfer); });
}

async function filesIn(folder) {
  const reader = folder.createReader(), entries = [];
  for (;;) {
    const more = await new Promise((done) => { reader.readEntries(done, () => done([])); });
    if (!more.length) break;
    entries.push(...more);
  }
  return Promise.all(entries.filter((e) => e.isFile).map((e) => new Promise((done, fail) => { e.file(done, fail); })));
}

async function sendFile(file) {
  if (file.size > MOST_BYTE) return { error: { message: `${file.name}: more than ${MOST_BYTE / 1e6} MB; start joulemill explore with --measured` } };
  return send(`/api/measured?name=${encodeURIComponent(file.name)}`, await file.text());
}

async function sendRun(files, name) {
  const wanted = files.filter((f) => RUN.test(f.name));
  if (!wanted.some((f) => f.name === "run.json")) return { error: { message: `${name}: no run is there (no run.json); choose the folder that joulemill bench wrote` } };
  if (wanted.reduce((sum, f) => sum + f.size, 0) > MOST_BYTE) return { error: { message: `${name}: more than ${MOST_BYTE / 1e6} MB; start joulemill explore with --measured ${name}` } };
  const texts = Object.fromEntries(await Promise.all(wanted.map(async (f) => [f.name, await f.text()])));
  return send(`/api/run?name=${encodeURIComponent(name)}`, JSON.stringify(texts));
}

export const send = (path, body) => fetch(path, { method: "POST", body }).then((r) => r.json()).catch(() => ({ error: { message: "the server does not answer" } }));
