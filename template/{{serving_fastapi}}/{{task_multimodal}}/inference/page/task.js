// A chat about an image.

import { newChat, startChat } from "./chat.js";
import { imagePicker } from "./image.js";
import { get } from "./service.js";

let image = null;

imagePicker(
  (upload) => {
    newChat(); // the model sees one image, in the first message
    image = upload;
    get("text").focus();
  },
  [get("send")],
);

startChat(() => {
  if (!image) throw new Error("Choose an image first.");
  return image;
});
