// A recording in, its label out.

import { filePicker, preview, readUpload } from "./file.js";
import { record } from "./record.js";
import { classify } from "./scores.js";
import { busy, get, showError } from "./service.js";

function use(file) {
  preview(get("player"), file);
  busy([], async () => {
    const upload = await readUpload(file);
    await classify(upload.base64, upload);
  });
}

get("picker").append(filePicker("audio", "Choose a sound file, or drop it here", use));

// Browsers give the microphone on localhost and over https only.
const button = get("record");
button.hidden = !navigator.mediaDevices;
let stop = null;
button.onclick = async () => {
  if (stop) {
    const stopping = stop;
    stop = null;
    button.textContent = "Record";
    return busy([button], async () => use(await stopping()));
  }
  try {
    showError();
    stop = await record();
    button.textContent = "Stop recording";
  } catch {
    showError("The microphone cannot be used; allow it for this page in the browser.");
  }
};
