// An image in, its label out.

import { imagePicker } from "./image.js";
import { classify } from "./scores.js";

imagePicker((upload) => classify(upload.base64, upload));
