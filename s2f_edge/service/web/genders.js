/** The choice of a face's gender, on two screens: auto, female or male. */

import { knownInfo } from "./api.js";
import { deviceGenerators } from "./device.js";
import { all } from "./dom.js";

/** Checks the button of a gender, and hides those that the service has no generator for. */
export function showGender(form, gender) {
  const generators = knownInfo()?.generators ?? deviceGenerators();
  for (const radio of all("input[name=gender]", form)) {
    radio.checked = radio.value === gender;
    radio.closest("label").hidden = Boolean(generators) && radio.value !== "auto" && !generators.includes(radio.value);
  }
}

/** @returns {string} */
export const genderOf = (form) => new FormData(form).get("gender") ?? "auto";
