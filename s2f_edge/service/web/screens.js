/** Screens: which one is shown, the browser's history, and where the focus goes. */

import { $, all } from "./dom.js";
import { t } from "./i18n.js";

/**
 * @typedef {object} Screen
 * @property {(state: any) => void} [enter] before it is shown
 * @property {() => void} [leave] when another follows
 * @property {() => void} [render] writes its texts; called on entering and when the language changes
 * @property {(state: any) => boolean} [possible] whether it can be shown; home is shown where not
 * @property {boolean} [passing] Back and Forward do not lead into it
 * @property {() => HTMLElement | null} [focus] what gets the focus instead of the heading
 */

/** @type {Map<string, Screen>} */
const screens = new Map();
let current = "";

/** @param {string} name the section's data-screen @param {Screen} screen */
export const define = (name, screen) => screens.set(name, screen);

export const currentScreen = () => current;

/** Goes to a screen; the browser's Back leads here again. */
export function go(name, state = {}) {
  const next = { ...state, screen: name, depth: (history.state?.depth ?? 0) + 1 };
  history.pushState(next, "");
  show(next);
}

/** Goes to a screen that takes the place of this one in the history. */
export function replace(name, state = {}) {
  const next = { ...state, screen: name, depth: history.state?.depth ?? 0 };
  history.replaceState(next, "");
  show(next);
}

/** One screen back. */
export function back() {
  if ((history.state?.depth ?? 0) > 0) history.back();
  else replace("home");
}

/** Shows the first screen. Nothing survives a reload, so it is always home. */
export function startScreens() {
  window.addEventListener("popstate", ({ state }) => {
    if (screens.get(state?.screen)?.passing) history.back();
    else show(state ?? { screen: "home" });
  });
  history.replaceState({ screen: "home", depth: 0 }, "");
  show(history.state, false);
  for (const button of all("[data-back]")) button.addEventListener("click", back);
  for (const button of all("[data-home]")) button.addEventListener("click", goHome);
}

export function goHome() {
  if (current !== "home") go("home");
}

/** Writes the texts of the present screen again. */
export function renderScreen() {
  screens.get(current)?.render?.();
  setTitle();
}

function show(state, focus = true) {
  const screen = screens.get(state.screen);
  if (!screen || (screen.possible && !screen.possible(state))) {
    replace("home");
    return;
  }
  screens.get(current)?.leave?.();
  current = state.screen;
  screen.enter?.(state);
  screen.render?.();
  for (const section of all("[data-screen]")) section.hidden = section.dataset.screen !== current;
  document.body.dataset.at = current;
  setTitle();
  window.scrollTo(0, 0);
  if (focus) (screen.focus?.() ?? heading()).focus();
}

/** The heading of the present screen. */
export const heading = () => $(`[data-screen="${current}"] h1`);

/** The page's title follows the heading; call it where a screen changes its own. */
export function setTitle() {
  document.title = current === "home" ? t("app.title") : `${heading().textContent} – ${t("app.title")}`;
}
