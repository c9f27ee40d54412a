/** Small helpers for the page's elements. */

/**
 * The element that a CSS selector names.
 * @param {string} selector
 * @param {ParentNode} [root]
 * @returns {any}
 */
export function $(selector, root = document) {
  return root.querySelector(selector);
}

/**
 * All elements that a CSS selector names.
 * @param {string} selector
 * @param {ParentNode} [root]
 * @returns {any[]}
 */
export function all(selector, root = document) {
  return [...root.querySelectorAll(selector)];
}

/** Lets a screen reader say a text; it is not shown. */
export function announce(text) {
  const place = $("#announce");
  // The same text twice in a row would not be a change, and so would not be read.
  place.textContent = "";
  setTimeout(() => {
    place.textContent = text;
  }, 50);
}
