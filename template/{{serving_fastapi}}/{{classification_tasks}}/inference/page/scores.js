// Ask for the labels of one input, and show them with their probabilities.

import { duration, element, get, post, serverTime, showFacts } from "./service.js";

let latest = new AbortController();

/** Classify one input and show the answer in #result; throws as `post` does. */
export async function classify(input, upload) {
  latest.abort(); // nobody waits for the answer to the question before
  latest = new AbortController();
  const options = { upload, signal: latest.signal };
  get("result").hidden = true;
  const { response, begun } = await post("v1/predict", { inputs: [input] }, options);
  const { outputs } = await response.json();
  const rows = [
    ["Time, seen from here", duration(performance.now() - begun)],
    ["Of it in the service", serverTime(response)],
  ];
  showFacts(rows, response);
  showOutput(outputs[0]);
}

function showOutput({ label, scores }) {
  const likeliestFirst = Object.entries(scores).sort((a, b) => b[1] - a[1]);
  const list = element("ol", { className: "scores" });
  list.append(...likeliestFirst.map(([name, score]) => row(name, score)));
  list.tabIndex = 0; // so that a long list can be scrolled with the keyboard
  get("result").replaceChildren(element("p", { text: label, className: "label" }), list);
  get("result").hidden = false;
}

function row(name, score) {
  const filled = element("i");
  filled.style.width = `${100 * score}%`;
  return element(
    "li",
    {},
    element("span", { text: name }),
    element("span", { className: "bar" }, filled),
    element("span", { text: `${(100 * score).toFixed(1)} %` }),
  );
}
