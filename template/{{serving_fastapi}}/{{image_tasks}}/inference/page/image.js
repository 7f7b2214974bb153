// An image that is chosen, dropped or pasted, and shown.

import { filePicker, preview, readUpload } from "./file.js";
import { busy, element, get } from "./service.js";

/** Put the area into #picker; `use(upload)` is called with each image, `buttons` are off then. */
export function imagePicker(use, buttons = []) {
  const image = element("img");
  image.hidden = true;
  image.onerror = () => (image.hidden = true); // a kind that browsers do not show, such as TIFF
  const words = "Choose an image, drop it here, or paste it";
  const picker = filePicker("image", words, (file) => {
    preview(image, file);
    image.alt = file.name;
    busy(buttons, async () => use(await readUpload(file)));
  });
  picker.prepend(image);
  get("picker").append(picker);
}
