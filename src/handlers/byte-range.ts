/** A part of a representation: first and last byte, both included. */
export interface ByteRange {
  readonly first: number
  readonly last: number
}

/**
 * Reads a Range header.
 * @returns One range inside `size`; `"unsatisfiable"`: 416; undefined: send everything. That is also the answer to several
 *   ranges, which a server may give: nobody needs them who cannot ask for them one by one, and small overlapping ranges
 *   make a server send a file many times over.
 * Source: RFC 9110 §14.1.2, §14.2 and §17.15.
 */
export function parseByteRange(header: string | undefined, size: number): ByteRange | "unsatisfiable" | undefined {
  const match = header === undefined ? null : /^bytes=[ \t]*(\d{0,15})-(\d{0,15})[ \t]*$/i.exec(header)
  if (match === null || (match[1] === "" && match[2] === "")) return undefined
  if (match[1] === "") {
    const suffix = Number(match[2])
    if (suffix === 0 || size === 0) return "unsatisfiable"
    return { first: Math.max(0, size - suffix), last: size - 1 }
  }
  const first = Number(match[1])
  const last = match[2] === "" ? size - 1 : Number(match[2])
  if (match[2] !== "" && last < first) return undefined
  if (first >= size) return "unsatisfiable"
  return { first, last: Math.min(last, size - 1) }
}
