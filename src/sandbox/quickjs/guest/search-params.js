// Source: WHATWG URL §6.2 (URLSearchParams class), §5 (application/x-www-form-urlencoded).
;(need) => {
  let linkedParams
  let setParams

  class URLSearchParams {
    #pairs
    #changed = null

    static {
      linkedParams = (query, changed) => {
        const params = new URLSearchParams()
        params.#pairs = parseForm(query)
        params.#changed = changed
        return params
      }
      setParams = (params, query) => {
        params.#pairs = parseForm(query)
      }
    }

    constructor(init = "") {
      if (typeof init === "object" && init !== null) this.#pairs = toPairs(init)
      else this.#pairs = parseForm(`${init}`.toWellFormed().replace(/^\?/, ""))
    }
    get size() {
      return this.#pairs.length
    }
    append(name, value) {
      this.#pairs.push([toText(name), toText(value)])
      this.#update()
    }
    delete(name, value = undefined) {
      const test = matcher(name, value)
      this.#pairs = this.#pairs.filter((pair) => !test(pair))
      this.#update()
    }
    get(name) {
      return this.#pairs.find(matcher(name, undefined))?.[1] ?? null
    }
    getAll(name) {
      return this.#pairs.filter(matcher(name, undefined)).map((pair) => pair[1])
    }
    has(name, value = undefined) {
      return this.#pairs.some(matcher(name, value))
    }
    set(name, value) {
      const test = matcher(name, undefined)
      const pair = [toText(name), toText(value)]
      const at = this.#pairs.findIndex(test)
      if (at === -1) this.#pairs.push(pair)
      else this.#pairs = this.#pairs.filter((old, i) => i === at || !test(old)).with(at, pair)
      this.#update()
    }
    sort() {
      this.#pairs.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
      this.#update()
    }
    forEach(callback, thisArg = undefined) {
      for (const [name, value] of this) callback.call(thisArg, value, name, this)
    }
    *entries() {
      for (let i = 0; i < this.#pairs.length; i++) yield [...this.#pairs[i]]
    }
    *keys() {
      for (let i = 0; i < this.#pairs.length; i++) yield this.#pairs[i][0]
    }
    *values() {
      for (let i = 0; i < this.#pairs.length; i++) yield this.#pairs[i][1]
    }
    get [Symbol.toStringTag]() {
      return "URLSearchParams"
    }
    [Symbol.iterator]() {
      return this.entries()
    }
    toString() {
      return this.#pairs.map(([name, value]) => `${encodeForm(name)}=${encodeForm(value)}`).join("&")
    }

    #update() {
      this.#changed?.(this.toString())
    }
  }
  const toText = (value) => `${value}`.toWellFormed()

  function matcher(name, value) {
    const wanted = toText(name)
    const exact = value === undefined ? undefined : toText(value)
    return (pair) => pair[0] === wanted && (exact === undefined || pair[1] === exact)
  }

  function toPairs(init) {
    if (typeof init[Symbol.iterator] !== "function") return Object.entries(init).map((pair) => pair.map(toText))
    return Array.from(init, (item) => {
      const pair = typeof item === "object" && item !== null ? [...item] : []
      if (pair.length !== 2) throw new TypeError("each pair is [name, value]")
      return pair.map(toText)
    })
  }

  function parseForm(text) {
    const pairs = []
    for (const part of text.split("&")) {
      if (part === "") continue
      const equals = part.indexOf("=")
      const name = equals === -1 ? part : part.slice(0, equals)
      pairs.push([decodeForm(name), decodeForm(equals === -1 ? "" : part.slice(equals + 1))])
    }
    return pairs
  }

  function decodeForm(text) {
    const spaced = text.replaceAll("+", " ")
    if (!spaced.includes("%")) return spaced
    try {
      return decodeURIComponent(spaced)
    } catch {
      return decodeBytes(spaced)
    }
  }

  // For what decodeURIComponent refuses: stray "%" stays, bytes that are not UTF-8 become U+FFFD.
  function decodeBytes(text) {
    const bytes = new Uint8Array(need("$utf8Encode")(text))
    let length = 0
    for (let i = 0; i < bytes.length; i++) {
      const hex = bytes[i] === 37 ? String.fromCharCode(bytes[i + 1], bytes[i + 2]) : ""
      const isEscape = /^[0-9a-fA-F]{2}$/.test(hex)
      bytes[length++] = isEscape ? Number.parseInt(hex, 16) : bytes[i]
      if (isEscape) i += 2
    }
    return need("$utf8Decode")(bytes.slice(0, length).buffer)
  }

  const hexOf = (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`

  function encodeForm(text) {
    return encodeURIComponent(text).replace(/[!'()~]|%20/g, (found) => (found === "%20" ? "+" : hexOf(found)))
  }
  // `$linkedParams(query, changed)`: params that report their new text. `$setParams(params, query)`: replaces what they hold.
  return { URLSearchParams, $linkedParams: linkedParams, $setParams: setParams }
}
