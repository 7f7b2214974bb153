// A file that is chosen, dropped or pasted, and its content in base64.

import { element } from "./service.js";

/** An area that takes files of a kind, `image` or `audio`; `use(file)` is called with each. */
export function filePicker(kind, words, use) {
  const input = element("input");
  input.type = "file";
  input.id = "file";
  input.accept = `${kind}/*`;
  const area = element("label", { className: "drop" }, element("span", { text: words }), input);
  const take = (list) => {
    if (list?.length) use(list[0]);
  };
  input.onchange = () => {
    take(input.files);
    input.value = ""; // so that the same file can be chosen again
  };
  // Anywhere on the page: a browser leaves the page for a file dropped beside the area.
  const hasFile = (event) => event.dataTransfer.types.includes("Files");
  document.ondragover = (event) => {
    if (!hasFile(event)) return;
    event.preventDefault();
    area.classList.add("over");
  };
  document.ondragleave = () => area.classList.remove("over");
  document.ondrop = (event) => {
    if (!hasFile(event)) return;
    event.preventDefault();
    area.classList.remove("over");
    take(event.dataTransfer.files);
  };
  document.onpaste = (event) => take(event.clipboardData.files);
  return area;
}

/** Read a file as `{ name, base64, url }`; `url` is a data URL. */
export async function readUpload(file) {
  const url = await new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(new Error(`${file.name} cannot be read.`));
    reader.readAsDataURL(file);
  });
  return { name: file.name, base64: url.slice(url.indexOf(",") + 1), url };
}

/** Show the file in an `img` or `audio` element, in place of the one before. */
export function preview(player, file) {
  URL.revokeObjectURL(player.src);
  player.src = URL.createObjectURL(file);
  player.hidden = false;
}
