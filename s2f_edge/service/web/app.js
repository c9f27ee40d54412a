/** Starts the page. */

import { serviceInfo } from "./api.js";
import { startChoose } from "./choose.js";
import { isDownloaded, look } from "./device.js";
import { $ } from "./dom.js";
import { clipOf, startFiles } from "./files.js";
import { startHome } from "./home.js";
import { firstLanguage, otherLanguage, rememberLanguage, t, useLanguage } from "./i18n.js";
import { showProblem, startProblem } from "./problem.js";
import { isRecording, startRecord } from "./record.js";
import { startResult } from "./result.js";
import { currentScreen, go, renderScreen, startScreens } from "./screens.js";
import { sendInstead, startSending } from "./sending.js";
import { session, wouldLose } from "./session.js";
import { startTheme, switchTheme } from "./theme.js";

const ASK_AGAIN_MS = 15_000;

let reachable = true; // the service, as far as is known

startTheme();
for (const start of [startHome, startRecord, startChoose, startSending, startResult]) start();
startProblem(sendInstead);
speak(firstLanguage());
startScreens();
startFiles(takeFile, () => !isRecording() && currentScreen() !== "sending");
startOffline();

$("#language").addEventListener("click", () => {
  speak(otherLanguage());
  rememberLanguage();
  renderScreen();
});
$("#theme").addEventListener("click", switchTheme);

window.addEventListener("beforeunload", (event) => {
  if (isRecording() || wouldLose()) event.preventDefault();
});

if ("serviceWorker" in navigator) {
  // Without it the page works all the same, but does not open offline.
  navigator.serviceWorker.register("sw.js").catch((error) => console.warn("No service worker:", error));
}

function speak(language) {
  useLanguage(language);
  const button = $("#language");
  button.textContent = t("app.language");
  button.lang = otherLanguage();
  showOffline();
}

async function takeFile(file) {
  try {
    session.clip = await clipOf(file);
    go("choose");
  } catch (problem) {
    showProblem(problem);
  }
}

function startOffline() {
  window.addEventListener("online", lookForServer);
  window.addEventListener("offline", showOffline);
  lookForServer();
}

/** Asks until the service answers. */
async function lookForServer() {
  reachable = navigator.onLine && (await serviceInfo()) !== null;
  await look();
  renderScreen();
  showOffline();
  if (!reachable && navigator.onLine) setTimeout(lookForServer, ASK_AGAIN_MS);
}

function showOffline() {
  const here = isDownloaded() ? ".device" : "";
  const text = navigator.onLine ? (reachable ? "" : t(`app.unreachable${here}`)) : t(`app.offline${here}`);
  $("#offline").hidden = !text;
  $("#offline").textContent = text;
}
