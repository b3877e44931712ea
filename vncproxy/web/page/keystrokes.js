/** Which keys type which characters: those of a US keyboard, as machines take it without other word. */

const SHIFT = [0xffe1, "ShiftLeft"];
const SHIFTED = /^[A-Z~!@#$%^&*()_+{}|:"<>?]$/;
const PRINTABLE = /^[ -~]$/;
/** The keys of control characters: keysym, and the code of the key that is the same on every keyboard. */
const CONTROLS = {
  "\b": [0xff08, "Backspace"],
  "\t": [0xff09, "Tab"],
  "\n": [0xff0d, "Enter"],
  "\x1b": [0xff1b, "Escape"],
  "\x7f": [0xffff, "Delete"],
};
const INVISIBLE = /^[\p{C}\p{M}\p{Z}]$/u;

/** Return the characters to type, with one character for each line's end. */
export function charactersOf(text) {
  return [...text.replaceAll(/\r\n?/g, "\n")];
}

/** Return the names of the characters that no key has, each once. */
export function namesOfUntypable(text) {
  const untypable = charactersOf(text).filter((character) => !CONTROLS[character] && !PRINTABLE.test(character));
  return [...new Set(untypable)].map(nameOf);
}

/** Return what `sendKey` takes for Shift, held or let go. */
export function shift(down) {
  return [...SHIFT, down];
}

/** Return whether Shift is held while the character is typed. */
export function needsShift(character) {
  return SHIFTED.test(character);
}

/**
 * Return what `sendKey` takes for the character's key: down, then up.
 *
 * Printable characters go without a key's code: servers that know their machine's keyboard then find the
 * key by themselves.
 */
export function keyEvents(character) {
  const key = CONTROLS[character] ?? [keysymOf(character), null];
  return [[...key, true], [...key, false]];
}

function keysymOf(character) {
  const point = character.codePointAt(0);
  return point <= 0xff ? point : 0x01000000 + point;
}

function nameOf(character) {
  if (!INVISIBLE.test(character)) return character;
  return `U+${character.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`;
}
