/** The first screen: record, upload, or go on with what is already there. */

import { isWanted } from "./device.js";
import { $ } from "./dom.js";
import { pickFile } from "./files.js";
import { define, go } from "./screens.js";
import { session, titleOf } from "./session.js";

export function startHome() {
  $("#home-record").addEventListener("click", () => go("record"));
  $("#home-upload").addEventListener("click", pickFile);
  $("#resume-continue").addEventListener("click", () => go("choose"));
  define("home", { render });
}

function render() {
  $("#home-privacy").hidden = isWanted();
  $("#home-privacy-device").hidden = !isWanted();
  $("#resume").hidden = !session.clip;
  $("#resume-name").textContent = session.clip ? titleOf(session.clip) : "";
}
