// Source: WHATWG Fetch §5.1 (Headers class), §2.2 (names, values, sort and combine).
;() => {
  let listOf

  class Headers {
    // [name in lower case, value], as they came.
    #list = []

    static {
      listOf = (value) => (typeof value === "object" && value !== null && #list in value ? value.#list : undefined)
    }

    constructor(init = undefined) {
      if (init !== undefined) for (const [name, value] of headerPairs(init)) this.append(name, value)
    }

    append(name, value) {
      const field = [toName(name), toValue(value)]
      this.#list.push(field)
    }
    delete(name) {
      const key = toName(name)
      this.#list = this.#list.filter((field) => field[0] !== key)
    }
    get(name) {
      const key = toName(name)
      const values = this.#list.filter((field) => field[0] === key)
      return values.length === 0 ? null : values.map((field) => field[1]).join(", ")
    }
    getSetCookie() {
      return this.#list.filter((field) => field[0] === "set-cookie").map((field) => field[1])
    }
    has(name) {
      const key = toName(name)
      return this.#list.some((field) => field[0] === key)
    }
    set(name, value) {
      const field = [toName(name), toValue(value)]
      const at = this.#list.findIndex((old) => old[0] === field[0])
      if (at === -1) this.#list.push(field)
      else this.#list = this.#list.filter((old, i) => i === at || old[0] !== field[0]).with(at, field)
    }
    forEach(callback, thisArg = undefined) {
      for (const [name, value] of this) callback.call(thisArg, value, name, this)
    }
    *entries() {
      yield* this.#sorted()
    }
    *keys() {
      for (const [name] of this.#sorted()) yield name
    }
    *values() {
      for (const [, value] of this.#sorted()) yield value
    }
    get [Symbol.toStringTag]() {
      return "Headers"
    }
    [Symbol.iterator]() {
      return this.entries()
    }

    #sorted() {
      const names = [...new Set(this.#list.map((field) => field[0]))].sort()
      return names.flatMap((name) =>
        name === "set-cookie" ? this.getSetCookie().map((value) => [name, value]) : [[name, this.get(name)]],
      )
    }
  }
  // Pairs, an object or Headers, as pairs.
  function headerPairs(init) {
    const list = listOf(init)
    if (list !== undefined) return list.map((field) => [field[0], field[1]])
    if ((typeof init !== "object" && typeof init !== "function") || init === null) {
      throw new TypeError("headers are pairs, an object or Headers")
    }
    if (typeof init[Symbol.iterator] !== "function") {
      return Reflect.ownKeys(init)
        .filter((key) => Object.prototype.propertyIsEnumerable.call(init, key))
        .map((key) => [key, init[key]])
    }
    const pairs = []
    for (const item of init) {
      const pair = typeof item === "object" && item !== null ? [...item] : []
      if (pair.length !== 2) throw new TypeError("a header is a pair: [name, value]")
      pairs.push(pair)
    }
    return pairs
  }

  function toName(name) {
    const text = `${name}`
    if (!/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(text)) throw new TypeError(`${JSON.stringify(text)} is not a header name`)
    return text.toLowerCase()
  }

  function toValue(value) {
    const text = `${value}`.replace(/^[\t\n\r ]+/, "").replace(/[\t\n\r ]+$/, "")
    if (/[\0\n\r]|[^\0-\xff]/.test(text)) throw new TypeError(`${JSON.stringify(text)} is not a header value`)
    return text
  }
  return { Headers, $headerPairs: headerPairs }
}
