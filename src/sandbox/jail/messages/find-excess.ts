/** Levels of lists and objects. */
const MAX_LEVELS = 100
/**
 * Entries of all lists and objects together. A line is parsed in one go, and many small values take the host far longer than
 * a few long ones: a tenth of a second for those that fit into a line of 1.4 MB.
 */
const MAX_ENTRIES = 50_000

const [QUOTE, BACKSLASH, COMMA] = [0x22, 0x5c, 0x2c]
const [OPEN_LIST, CLOSE_LIST, OPEN_OBJECT, CLOSE_OBJECT] = [0x5b, 0x5d, 0x7b, 0x7d]

/**
 * Why the host does not parse a JSON text, or what would be one if it were JSON. Looks at each byte once.
 * @returns A clause for people; null: it can be parsed.
 */
export function findExcess(json: Uint8Array): string | null {
  let depth = 0
  let entries = 0
  for (let at = 0; at < json.length; at++) {
    const byte = json[at]!
    if (byte === QUOTE) at = endOfString(json, at)
    else if (byte === COMMA) entries++
    else if (byte === OPEN_LIST || byte === OPEN_OBJECT) {
      entries++
      if (++depth > MAX_LEVELS) return `JSON of more than ${MAX_LEVELS} levels`
    } else if (byte === CLOSE_LIST || byte === CLOSE_OBJECT) depth--
  }
  return entries > MAX_ENTRIES ? `JSON of more than ${MAX_ENTRIES} entries` : null
}

/** @returns the position of the quotation mark that ends the string, or the end. Bytes of other characters are over 127. */
function endOfString(json: Uint8Array, start: number): number {
  let at = start + 1
  while (at < json.length && json[at] !== QUOTE) at += json[at] === BACKSLASH ? 2 : 1
  return at
}
