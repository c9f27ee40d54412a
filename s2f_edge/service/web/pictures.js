/** Pictures as the service gives them, to blobs and files. */

/** @param {{media_type: string, base64: string}} picture @returns {Blob} the service's bytes, unchanged */
export function blobOf(picture) {
  const bytes = Uint8Array.from(atob(picture.base64), (letter) => letter.charCodeAt(0));
  return new Blob([bytes], { type: picture.media_type });
}

/** A file name that says what the picture, or video, is: invented-face-20260131-0915-2.png */
export function fileName(made, index, suffix = "png") {
  const two = (value) => String(value).padStart(2, "0");
  const day = `${made.getFullYear()}${two(made.getMonth() + 1)}${two(made.getDate())}`;
  return `invented-face-${day}-${two(made.getHours())}${two(made.getMinutes())}-${index + 1}.${suffix}`;
}

/** Hands a picture to the browser to save. */
export function save(url, name) {
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
}
