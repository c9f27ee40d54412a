/** Light or dark: as the system is set, or as chosen with the button in the header. */

import { $ } from "./dom.js";
import { readSetting, writeSetting } from "./storage.js";

const system = window.matchMedia("(prefers-color-scheme: dark)");

/** Whether the page is dark now. */
export function isDark() {
  const chosen = readSetting("theme");
  return chosen ? chosen === "dark" : system.matches;
}

/** Puts the theme on the page, now and whenever the system's changes. */
export function startTheme() {
  apply();
  system.addEventListener("change", apply);
}

/** Goes to the other theme. What the system has anyway is not remembered, so that it is followed again. */
export function switchTheme() {
  const dark = !isDark();
  writeSetting("theme", dark === system.matches ? null : dark ? "dark" : "light");
  apply();
}

function apply() {
  const dark = isDark();
  $("#dark").media = dark ? "all" : "not all";
  document.documentElement.dataset.theme = dark ? "dark" : "light";
  $("#theme").setAttribute("aria-pressed", String(dark));
  $("meta[name=theme-color]").content = dark ? "#12171c" : "#f7f5f0";
}
