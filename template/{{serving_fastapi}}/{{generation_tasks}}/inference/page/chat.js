// A chat that streams, over /v1/chat/completions.

import { busy, duration, element, get, post, showError, showFacts } from "./service.js";

const OPTIONS = ["temperature", "max_tokens", "seed"];
const messages = []; // what was said until now, as the API takes it
let stopping = new AbortController();

/** Forget what was said. */
export function newChat() {
  stopping.abort();
  messages.length = 0;
  get("chat").replaceChildren();
  showError();
}

/** Make the form work; `attachment()` gives the first message's image, or throws an Error. */
export function startChat(attachment = () => null) {
  get("form").onsubmit = (event) => {
    event.preventDefault();
    if (get("send").disabled) return;
    busy([get("send")], () => send(get("text").value, attachment()));
  };
  get("text").onkeydown = (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    get("form").requestSubmit();
  };
  get("stop").onclick = () => stopping.abort();
  get("clear").onclick = newChat;
}

async function send(text, upload) {
  const own = new AbortController();
  stopping = own;
  const first = !messages.length;
  const question = { role: "user", content: text };
  const image = { type: "image_url", image_url: { url: upload?.url } };
  if (upload && first) question.content = [image, { type: "text", text }];
  const asked = [...messages, question];
  const body = { messages: asked, stream: true, stream_options: { include_usage: true } };
  const system = get("system").value.trim();
  if (system) body.messages = [{ role: "system", content: system }, ...asked];
  for (const name of OPTIONS) {
    if (get(name).value) body[name] = Number(get(name).value);
  }

  const shown = bubble("user", text, first && upload);
  const answer = bubble("assistant", "");
  answer.setAttribute("aria-busy", "true");
  get("text").value = "";
  get("stop").disabled = false;
  try {
    const { response, begun } = await post("v1/chat/completions", body, {
      signal: own.signal,
      upload,
    });
    const note = await read(response, begun, answer);
    if (note) append(answer, element("small", { text: note }));
  } catch (error) {
    if (error.name !== "AbortError") throw error;
    append(answer, element("small", { text: "stopped" }));
  } finally {
    answer.removeAttribute("aria-busy");
    if (stopping === own) get("stop").disabled = true;
    const said = answer.firstChild.textContent;
    if (said && get("chat").contains(answer)) {
      messages.push(question, { role: "assistant", content: said });
    } else if (get("chat").contains(answer) && !answer.querySelector("small")) {
      shown.remove(); // it was not answered: back to where it can be sent again
      answer.remove();
      get("text").value ||= text;
    }
  }
}

/** Show the answer as it comes; returns a note to show below it. */
async function read(response, begun, answer) {
  let firstAt = 0;
  let lastAt = 0;
  let pieces = 0;
  let tokens = null;
  let finish = null;
  for await (const event of events(response)) {
    if (event.error) throw new Error(event.error.message);
    const [choice] = event.choices;
    finish = choice?.finish_reason ?? finish;
    tokens = event.usage?.completion_tokens ?? tokens;
    const piece = choice?.delta?.content;
    if (!piece) continue;
    lastAt = performance.now();
    firstAt ||= lastAt;
    pieces += 1;
    append(answer.firstChild, piece);
    showSpeed(response, begun, firstAt, lastAt, pieces);
  }
  showSpeed(response, begun, firstAt, lastAt, tokens ?? pieces, performance.now());
  if (!finish) throw new Error("The answer broke off; the service may have been stopped.");
  if (finish === "length") return "cut off at the token limit";
  return pieces ? "" : "an empty answer";
}

function showSpeed(response, begun, firstAt, lastAt, tokens, end) {
  const speed = tokens > 1 && lastAt > firstAt ? (tokens - 1) / ((lastAt - firstAt) / 1000) : 0;
  const rows = [
    ["Time to the first token", firstAt ? duration(firstAt - begun) : ""],
    ["Tokens", String(tokens)],
    ["Tokens a second", speed ? speed.toFixed(1) : ""],
    ["Time, seen from here", end ? duration(end - begun) : ""],
  ];
  showFacts(rows, response);
}

/** The JSON objects of a stream of server-sent events. */
async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let waiting = "";
  for (;;) {
    const { value, done } = await reader.read().catch((error) => {
      if (error.name === "AbortError") throw error;
      return { done: true }; // the connection broke; what is missing is noticed by the caller
    });
    if (done) return;
    waiting += value;
    const lines = waiting.split(/\r?\n/);
    waiting = lines.pop();
    for (const line of lines) {
      const data = line.startsWith("data:") ? line.slice(5).trim() : "";
      if (data && data !== "[DONE]") yield JSON.parse(data);
    }
  }
}

function bubble(role, text, upload) {
  const message = element("div", { className: `message ${role}` }, element("span", { text }));
  if (upload) {
    const image = element("img");
    image.src = upload.url;
    image.alt = upload.name;
    message.prepend(image);
  }
  get("chat").append(message);
  scrollDown();
  return message;
}

function append(parent, piece) {
  const chat = get("chat");
  const atEnd = chat.scrollHeight - chat.scrollTop - chat.clientHeight < 40;
  parent.append(piece);
  if (atEnd) scrollDown(); // else somebody reads further up
}

function scrollDown() {
  get("chat").scrollTop = get("chat").scrollHeight;
}
