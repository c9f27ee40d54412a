/**
 * Settings that the browser remembers: language and theme, and the access key for as long as
 * the tab is open. Sound and faces are never stored.
 */

/**
 * @param {() => Storage} storage a function, since even naming a storage fails where it is switched off
 * @param {string} name
 * @returns {string | null}
 */
function read(storage, name) {
  try {
    return storage().getItem(name);
  } catch {
    return null;
  }
}

function write(storage, name, value) {
  try {
    if (value) storage().setItem(name, value);
    else storage().removeItem(name);
  } catch {
    // The page works without.
  }
}

const lasting = () => window.localStorage;
const ofThisTab = () => window.sessionStorage;

export const readSetting = (name) => read(lasting, `s2f.${name}`);
export const writeSetting = (name, value) => write(lasting, `s2f.${name}`, value);
export const readKey = () => read(ofThisTab, "s2f.key") ?? "";
export const writeKey = (key) => write(ofThisTab, "s2f.key", key);
