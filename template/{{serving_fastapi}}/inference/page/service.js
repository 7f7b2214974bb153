// What every task's page has in common: asking the service, and showing how it is and what it said.
// All text goes in with textContent: what a model or a server says is never HTML.

const KEY = "api-key"; // in sessionStorage: gone with the tab

/** The element with this id. */
export const get = (id) => document.getElementById(id);

/** A new element with text, and what belongs in it. */
export function element(tag, { text = "", className = "" } = {}, ...children) {
  const made = document.createElement(tag);
  if (text) made.textContent = text;
  if (className) made.className = className;
  made.append(...children);
  return made;
}

/**
 * Post `body` as JSON; returns the response and when it was asked for, in ms.
 * `upload` is the file in `body`, `{ name, base64 }`: the command names it instead. Without a
 * known API key the user is asked for one, and the request goes out again.
 * Throws an Error whose message is a sentence to show.
 */
export async function post(path, body, { signal, upload } = {}) {
  showError();
  const content = JSON.stringify(body);
  for (;;) {
    const key = sessionStorage.getItem(KEY);
    showCommand(path, content, upload, key);
    const headers = { "Content-Type": "application/json" };
    if (key) headers.Authorization = `Bearer ${key}`;
    const begun = performance.now();
    let response;
    try {
      response = await fetch(path, { method: "POST", headers, body: content, signal });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Error("No answer: the service cannot be reached, or that was too much for it.");
    }
    if (response.ok) return { response, begun };
    const problem = await response.json().then((answer) => answer.error, () => ({}));
    if (response.status !== 401) throw new Error(sentence(response, problem));
    await newKey(Boolean(key), signal);
  }
}

function sentence(response, problem) {
  const said = problem?.message ?? `The service answered ${response.status}.`;
  const wait = response.headers.get("Retry-After");
  return wait ? `${said} Try again in ${wait} s.` : said;
}

/** Ask for an API key; done when one was given. */
async function newKey(refused, signal) {
  const form = get("key-form");
  get("key-hint").textContent = refused
    ? "The service does not know this key."
    : "The service wants a key. It is kept in this tab only.";
  form.hidden = false;
  get("key").focus();
  await new Promise((resolve, reject) => {
    form.onsubmit = (event) => {
      event.preventDefault();
      sessionStorage.setItem(KEY, get("key").value.trim());
      resolve();
    };
    signal?.addEventListener("abort", () => reject(signal.reason));
  }).finally(() => {
    form.hidden = true;
    get("key").value = "";
  });
}

/** Run `work` with these buttons off; an error becomes a sentence on the page. */
export async function busy(buttons, work) {
  buttons.forEach((button) => (button.disabled = true));
  try {
    await work();
  } catch (error) {
    if (error.name !== "AbortError") showError(error.message);
  } finally {
    buttons.forEach((button) => (button.disabled = false));
  }
}

/** Show a sentence, or none. */
export function showError(message = "") {
  get("error").textContent = message;
  get("error").hidden = !message;
  if (message) get("error").scrollIntoView({ block: "nearest" });
}

/** Show what is known of the last answer: rows of a name and a text, and where it came from. */
export function showFacts(rows, response) {
  const from = (header) => response.headers.get(header);
  const all = [
    ...rows,
    ["Model version", from("X-Model-Version")],
    ["Request", from("X-Request-ID"), "id"],
  ];
  get("nothing").hidden = true;
  get("facts").replaceChildren(
    ...all
      .filter(([, text]) => text)
      .flatMap(([name, text, className]) => [
        element("dt", { text: name }),
        element("dd", { text, className }),
      ]),
  );
}

/** How long the service took until it answered, as it says itself. */
export function serverTime(response) {
  const ms = response.headers.get("Server-Timing")?.match(/dur=([\d.]+)/)?.[1];
  return ms ? duration(Number(ms)) : "";
}

/** Milliseconds below a second, else seconds. */
export function duration(ms) {
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
}

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

function showCommand(path, content, upload, key) {
  const url = new URL(path, document.baseURI);
  const lines = [`curl ${quoted(url.href)}`, "-H 'Content-Type: application/json'"];
  if (key) lines.push('-H "Authorization: Bearer $API_KEY"'); // never the key itself
  let before = "";
  if (upload) {
    const [head, tail] = content.split(upload.base64);
    const encoded = `base64 < ${quoted(upload.name)} | tr -d '\\n'`;
    before = `(printf %s ${quoted(head)}; ${encoded}; printf %s ${quoted(tail)}) |\n`;
    lines.push("--data-binary @-");
  } else {
    lines.push(`--data-raw ${quoted(content)}`);
  }
  get("curl").textContent = before + lines.join(" \\\n  ");
  get("command").hidden = false;
}

get("copy").onclick = async () => {
  await navigator.clipboard.writeText(get("curl").textContent);
  get("copy").textContent = "Copied";
  setTimeout(() => (get("copy").textContent = "Copy"), 1500);
};
// The clipboard is there on localhost and over https only; without it one selects the text.
get("copy").hidden = !navigator.clipboard;

/** Ask how the service is, again and again while somebody looks. */
async function watch() {
  let ready = false;
  if (!document.hidden) {
    const [state, message, model] = await readiness();
    ready = state === "ready";
    get("state").textContent = state;
    get("state").title = message;
    get("state").classList.toggle("ready", ready);
    if (model) showModel(model);
  }
  setTimeout(watch, ready ? 5000 : 1000);
}

async function readiness() {
  try {
    const response = await fetch("readyz");
    const answer = await response.json();
    if (response.ok) return ["ready", "", answer.model];
    return [answer.error.code.replaceAll("_", " "), answer.error.message];
  } catch {
    return ["not reachable", "The service cannot be reached; is it running?"];
  }
}

function showModel({ name, version, digest }) {
  document.title = `${name} · prediction service`;
  get("model").textContent = name;
  // A version of its own, such as a registry's; else it is the beginning of the digest.
  const more = digest.includes(version) ? "" : ` · ${digest.slice(0, 19)}…`;
  get("version").textContent = `version ${version}${more}`;
  get("version").title = digest;
}

watch();
