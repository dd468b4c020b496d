import { parseAddress } from "./address.ts"

interface Range {
  readonly start: bigint
  readonly end: bigint
  readonly country: string
  /** As it was written. */
  readonly text: string
}

/** Countries by address. Ranges are nested or apart, so they become one row of borders, read by halving. */
export class CountryTable {
  /** Where a stretch begins, ascending; it goes to the next one. */
  readonly #starts: bigint[] = []
  readonly #countries: (string | null)[] = []

  /** @throws {Error} which range is wrong, and how. */
  constructor(table: { readonly [country: string]: readonly string[] }) {
    const ranges = Object.entries(table).flatMap(([country, list]) => list.map((text) => parseRange(text, country)))
    // Wider ones first: those inside them come after and are the ones that count.
    ranges.sort((a, b) => compare(a.start, b.start) || compare(b.end, a.end))
    const open: Range[] = []
    for (const range of ranges) {
      this.#closeBefore(range.start, open)
      const around = open.at(-1)
      if (around !== undefined && around.start === range.start && around.end === range.end) {
        throw new Error(`table: ${range.text} is listed for ${around.country} and for ${range.country}`)
      }
      this.#begin(range.start, range.country)
      open.push(range)
    }
    this.#closeBefore(null, open)
  }

  /** @returns null when the address is none, or in no range. */
  find(address: string): string | null {
    const number = parseAddress(address)
    if (number === null) return null
    let low = 0
    let high = this.#starts.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.#starts[middle]! <= number) low = middle + 1
      else high = middle
    }
    return low === 0 ? null : this.#countries[low - 1]!
  }

  /** @param start - Null: all. */
  #closeBefore(start: bigint | null, open: Range[]): void {
    for (let last = open.at(-1); last !== undefined && (start === null || last.end < start); last = open.at(-1)) {
      open.pop()
      this.#begin(last.end + 1n, open.at(-1)?.country ?? null)
    }
  }

  #begin(start: bigint, country: string | null): void {
    if (this.#starts.at(-1) === start) this.#countries[this.#countries.length - 1] = country
    else {
      this.#starts.push(start)
      this.#countries.push(country)
    }
  }
}

function parseRange(text: string, country: string): Range {
  const [address = "", bits, ...rest] = text.split("/")
  const start = parseAddress(address)
  const width = address.includes(":") ? 128 : 32
  const length = bits === undefined ? width : /^\d{1,3}$/.test(bits) ? Number(bits) : Number.NaN
  if (start === null || rest.length > 0 || !(length <= width)) {
    throw new Error(`table: ${country} has ${JSON.stringify(text)}, which is no address range such as 192.0.2.0/24`)
  }
  const size = 1n << BigInt(width - length)
  if (start % size !== 0n) throw new Error(`table: ${text} for ${country} does not begin at a multiple of its size`)
  return { start, end: start + size - 1n, country, text }
}

function compare(a: bigint, b: bigint): number {
  return a < b ? -1 : a > b ? 1 : 0
}
