/** A list of pairs as one text: name NUL value NUL, for each. */
export function joinPairs(pairs: readonly (readonly [string, string])[]): string {
  let text = ""
  for (const [name, value] of pairs) text += `${name}\0${value}\0`
  return text
}

/** @returns undefined for what is no list of pairs, or one of more than `most`. */
export function splitPairs(text: string, most: number): [string, string][] | undefined {
  const pairs: [string, string][] = []
  for (let at = 0; at < text.length; ) {
    const nameEnd = text.indexOf("\0", at)
    const valueEnd = nameEnd < 0 ? -1 : text.indexOf("\0", nameEnd + 1)
    if (valueEnd < 0 || pairs.length === most) return undefined
    pairs.push([text.slice(at, nameEnd), text.slice(nameEnd + 1, valueEnd)])
    at = valueEnd + 1
  }
  return pairs
}
