/**
 * The header section of one HTTP message: an ordered list of fields with case-insensitive names.
 * Kept flat as [name, value, name, value, …], the form Node's parser and writer use, so that a request that nobody
 * changes is never copied. Source: RFC 9110 §5.
 */
export class HeaderList {
  /** Flat [name, value, …]. Names keep the spelling they came with. */
  #raw: string[]
  /** True while `#raw` still belongs to somebody else (the parser, a cached response). */
  #borrowed: boolean

  private constructor(raw: string[], borrowed: boolean) {
    this.#raw = raw
    this.#borrowed = borrowed
  }

  static empty(): HeaderList {
    return new HeaderList([], false)
  }

  /** Uses `raw` without copying it; the first change copies. */
  static borrow(raw: string[]): HeaderList {
    return new HeaderList(raw, true)
  }

  static from(pairs: Iterable<readonly [string, string]>): HeaderList {
    const list = HeaderList.empty()
    for (const [name, value] of pairs) list.append(name, value)
    return list
  }

  /** Number of fields, repeated names counted each time. */
  get size(): number {
    return this.#raw.length / 2
  }

  has(name: string): boolean {
    return this.#find(name, 0) !== -1
  }

  /**
   * The field's combined value: repeated fields joined by ", " (RFC 9110 §5.3), Cookie by "; " (RFC 6265 §5.4).
   * Set-Cookie cannot be combined: this gives the first; use `getAll`.
   */
  get(name: string): string | undefined {
    const at = this.#find(name, 0)
    if (at === -1) return undefined
    const first = this.#raw[at + 1]!
    const next = this.#find(name, at + 2)
    if (next === -1 || equalNames(name, "set-cookie")) return first
    return this.getAll(name).join(equalNames(name, "cookie") ? "; " : ", ")
  }

  getAll(name: string): string[] {
    const values: string[] = []
    for (let at = this.#find(name, 0); at !== -1; at = this.#find(name, at + 2)) values.push(this.#raw[at + 1]!)
    return values
  }

  /** Replaces every field of that name by one. */
  set(name: string, value: string): void {
    this.#own()
    const at = this.#find(name, 0)
    if (at === -1) {
      this.#raw.push(name, value)
      return
    }
    this.#raw[at + 1] = value
    this.#removeFrom(name, at + 2)
  }

  append(name: string, value: string): void {
    this.#own()
    this.#raw.push(name, value)
  }

  delete(name: string): void {
    if (this.#find(name, 0) === -1) return
    this.#own()
    this.#removeFrom(name, 0)
  }

  /** Adds tokens to a comma-separated field such as Vary, without repeating one (RFC 9110 §12.5.5). */
  appendToken(name: string, token: string): void {
    const value = this.get(name)
    if (value === undefined) {
      this.set(name, token)
      return
    }
    const wanted = token.toLowerCase()
    for (const part of value.split(",")) {
      const present = part.trim().toLowerCase()
      if (present === wanted || present === "*") return
    }
    this.set(name, `${value}, ${token}`)
  }

  clone(): HeaderList {
    return new HeaderList(this.#raw.slice(), false)
  }

  /** The fields in order, names as spelled. */
  *[Symbol.iterator](): IterableIterator<[string, string]> {
    for (let at = 0; at < this.#raw.length; at += 2) yield [this.#raw[at]!, this.#raw[at + 1]!]
  }

  /** The flat list itself, for Node's `writeHead` and undici. Read only. */
  get raw(): readonly string[] {
    return this.#raw
  }

  #find(name: string, from: number): number {
    const raw = this.#raw
    for (let at = from; at < raw.length; at += 2) if (equalNames(raw[at]!, name)) return at
    return -1
  }

  #own(): void {
    if (!this.#borrowed) return
    this.#raw = this.#raw.slice()
    this.#borrowed = false
  }

  #removeFrom(name: string, from: number): void {
    const raw = this.#raw
    let kept = from
    for (let at = from; at < raw.length; at += 2) {
      if (equalNames(raw[at]!, name)) continue
      raw[kept] = raw[at]!
      raw[kept + 1] = raw[at + 1]!
      kept += 2
    }
    raw.length = kept
  }
}

/** ASCII case-insensitive comparison of two field names. */
export function equalNames(a: string, b: string): boolean {
  if (a.length !== b.length) return false
  if (a === b) return true
  for (let i = 0; i < a.length; i++) {
    let x = a.charCodeAt(i)
    let y = b.charCodeAt(i)
    if (x === y) continue
    if (x >= 65 && x <= 90) x += 32
    if (y >= 65 && y <= 90) y += 32
    if (x !== y) return false
  }
  return true
}
