// A text in, its label out.

import { classify } from "./scores.js";
import { busy, get } from "./service.js";

get("form").onsubmit = (event) => {
  event.preventDefault();
  busy([get("send")], () => classify(get("text").value));
};
get("text").onkeydown = (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) get("form").requestSubmit();
};
