/**
 * Names that guests pass over and over (of headers, of configuration): finding a text that was made before takes a fraction
 * of the time of making another one, and the same text is found faster in whatever it is looked up in.
 * @param start - Where it begins; it lies inside `bytes`.
 * @returns undefined when it is too long, not ASCII, or was not kept.
 */
export function findShortName(bytes: Uint8Array, start: number, length: number): string | undefined {
  if (length > MAX_LENGTH) return undefined
  const name = names[slotOf(bytes, start, length)]!
  if (name.length !== length) return undefined
  for (let i = 0; i < length; i++) if (name.charCodeAt(i) !== bytes[start + i]) return undefined
  return name
}

/** Keeps the text of those bytes for `findShortName`, in place of one that fell on the same slot. */
export function keepShortName(bytes: Uint8Array, start: number, length: number, name: string): void {
  // Of the same length only when it is ASCII.
  if (length <= MAX_LENGTH && name.length === length) names[slotOf(bytes, start, length)] = name
}

const MAX_LENGTH = 48
const SLOTS = 1024
const names: string[] = new Array(SLOTS).fill("")

/** FNV-1a, cut to the table. Who collides on purpose only makes it a decoding. */
function slotOf(bytes: Uint8Array, start: number, length: number): number {
  let hash = 0x811c9dc5
  for (let at = start; at < start + length; at++) hash = Math.imul(hash ^ bytes[at]!, 0x01000193)
  return (hash ^ (hash >>> 15)) & (SLOTS - 1)
}
