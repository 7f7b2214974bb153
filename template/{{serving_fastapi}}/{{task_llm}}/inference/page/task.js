// A chat with the model.

import { startChat } from "./chat.js";

startChat();
