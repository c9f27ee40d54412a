/** The switch "on this device", on the screen before sending. */

import { $ } from "./dom.js";
import { downloadBytes, isDownloaded, isOffered, isWanted, look, want } from "./device.js";
import { megabytes, t } from "./i18n.js";

/** @param {() => void} changed called when the person has chosen, or when it is known that they can */
export function startDeviceChoice(changed) {
  $("#device-on").addEventListener("change", (event) => {
    want(event.target.checked);
    changed();
  });
  look().then(changed);
}

export function renderDeviceChoice() {
  $("#device-choice").hidden = !isOffered();
  if (!isOffered()) return;
  $("#device-on").checked = isWanted();
  $("#device-about").textContent = isDownloaded()
    ? t("device.ready")
    : t("device.hint", { size: megabytes(downloadBytes()) });
}
