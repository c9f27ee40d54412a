/** Languages: which one is shown, its texts, and how it writes numbers. */

import { all } from "./dom.js";
import { readSetting, writeSetting } from "./storage.js";
import ar from "./strings.ar.js";
import en from "./strings.en.js";

const LANGUAGES = { en: { strings: en, dir: "ltr" }, ar: { strings: ar, dir: "rtl" } };

let language = "en";
let locale = "en";

/** The language of the last visit, or else the first of the browser's that the page has. */
export function firstLanguage() {
  const wanted = [readSetting("language"), ...navigator.languages].filter(Boolean);
  return wanted.map((tag) => tag.toLowerCase().split("-")[0]).find((tag) => tag in LANGUAGES) ?? "en";
}

/** The language that the switch in the header leads to. */
export const otherLanguage = () => (language === "en" ? "ar" : "en");

/** Shows the page in a language: "en" or "ar". */
export function useLanguage(name) {
  language = name;
  // The browser's own variant, since countries differ in how they write digits.
  locale = navigator.languages.find((tag) => tag.toLowerCase().split("-")[0] === name) ?? name;
  document.documentElement.lang = name;
  document.documentElement.dir = LANGUAGES[name].dir;
  translate(document);
}

export const rememberLanguage = () => writeSetting("language", language);

/** Fills in the texts of all elements with data-t (text) or data-t-label (aria-label). */
export function translate(root) {
  for (const element of all("[data-t]", root)) element.textContent = t(element.dataset.t);
  for (const element of all("[data-t-label]", root)) element.setAttribute("aria-label", t(element.dataset.tLabel));
}

/** Whether there is a text of that name. */
export const has = (key) => key in LANGUAGES[language].strings;

/**
 * A text in the language of the page.
 * @param {string} key
 * @param {Record<string, string | number>} [values] for the {places} in the text; numbers, and
 *   places that are one, such as {5}, are written in the digits of the language. `n` chooses the
 *   plural form.
 */
export function t(key, values = {}) {
  let text = LANGUAGES[language].strings[key];
  if (typeof text === "object") {
    const form = new Intl.PluralRules(locale).select(rounded(Number(values.n)));
    text = text[form] ?? text.other;
  }
  return text.replace(/\{(\w+)\}/g, (_, name) => {
    const value = /^\d+$/.test(name) ? Number(name) : values[name];
    return typeof value === "number" ? number(value) : value;
  });
}

const rounded = (value) => Math.round(value * 10) / 10;

/** A number with at most one decimal. */
export const number = (value) => new Intl.NumberFormat(locale, { maximumFractionDigits: 1 }).format(value);

export const percent = (share) => new Intl.NumberFormat(locale, { style: "percent" }).format(share);

/** "5.2 seconds", "10 minutes". */
export function duration(seconds) {
  const minutes = seconds >= 120;
  return new Intl.NumberFormat(locale, {
    style: "unit",
    unit: minutes ? "minute" : "second",
    unitDisplay: "long",
    maximumFractionDigits: 1,
  }).format(rounded(minutes ? seconds / 60 : seconds));
}

/** "25 MB". */
export function megabytes(bytes) {
  return new Intl.NumberFormat(locale, { style: "unit", unit: "megabyte", maximumFractionDigits: 1 }).format(
    bytes / 2 ** 20,
  );
}

/** "1:05", as on a clock. */
export function clock(seconds) {
  const whole = Math.floor(seconds);
  const two = new Intl.NumberFormat(locale, { minimumIntegerDigits: 2 });
  return `${number(Math.floor(whole / 60))}:${two.format(whole % 60)}`;
}
