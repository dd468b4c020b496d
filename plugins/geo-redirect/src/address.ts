const V4_MAPPED = 0xffffn << 32n

/** An IPv4 or IPv6 address as a number of 128 bits, IPv4 as `::ffff:a.b.c.d` (RFC 4291 §2.5.5.2); null when it is neither. */
export function parseAddress(text: string): bigint | null {
  if (!text.includes(":")) {
    const number = parseV4(text)
    return number === null ? null : V4_MAPPED | number
  }
  return parseV6(text)
}

function parseV4(text: string): bigint | null {
  const parts = text.split(".")
  if (parts.length !== 4 || !parts.every((part) => /^(0|[1-9]\d{0,2})$/.test(part) && Number(part) < 256)) return null
  return parts.reduce((number, part) => (number << 8n) | BigInt(part), 0n)
}

function parseV6(text: string): bigint | null {
  const last = text.slice(text.lastIndexOf(":") + 1)
  if (last.includes(".")) {
    const number = parseV4(last)
    if (number === null) return null
    const groups = [number >> 16n, number & 0xffffn].map((group) => group.toString(16))
    return parseV6(text.slice(0, -last.length) + groups.join(":"))
  }
  const halves = text.split("::")
  if (halves.length > 2) return null
  const [head, tail] = halves.map((half) => (half === "" ? [] : half.split(":"))) as [string[], string[] | undefined]
  const missing = 8 - head.length - (tail?.length ?? 0)
  if (tail === undefined ? missing !== 0 : missing < 1) return null
  const groups = [...head, ...Array<string>(missing).fill("0"), ...(tail ?? [])]
  if (!groups.every((group) => /^[0-9a-f]{1,4}$/i.test(group))) return null
  return groups.reduce((number, group) => (number << 16n) | BigInt(`0x${group}`), 0n)
}
