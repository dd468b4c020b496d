/* Guest values on their way to the host: bytes, header fields, answers. */
;(need) => {
  const { append, codes, getOwnPropertyDescriptor, getPrototypeOf, iterator, join, loaded, op, ownKeys } = need("$kit")
  const { stringify, text, TypeErrorCtor, uncurry } = need("$kit")
  const Uint8ArrayCtor = Uint8Array
  const getterOf = (prototype, key) => uncurry(getOwnPropertyDescriptor(prototype, key).get)
  const typedArray = getPrototypeOf(Uint8Array.prototype)
  const typeOfArray = getterOf(typedArray, Symbol.toStringTag)
  const bufferOf = getterOf(typedArray, "buffer")
  const offsetOf = getterOf(typedArray, "byteOffset")
  const lengthOf = getterOf(typedArray, "byteLength")
  const bufferLength = getterOf(ArrayBuffer.prototype, "byteLength")
  const sliceBuffer = uncurry(ArrayBuffer.prototype.slice)
  const setBytes = uncurry(Uint8Array.prototype.set)

  function isBuffer(value) {
    try {
      bufferLength(value)
      return true
    } catch {
      return false
    }
  }

  /** @returns the text, or an ArrayBuffer with exactly the bytes of the view or buffer. */
  function payload(value, what) {
    if (typeof value === "string") return value
    if (typeof value === "object" && value !== null) {
      if (typeOfArray(value) !== undefined) {
        const buffer = bufferOf(value)
        const from = offsetOf(value)
        const size = lengthOf(value)
        return from === 0 && size === bufferLength(buffer) ? buffer : sliceBuffer(buffer, from, from + size)
      }
      if (isBuffer(value)) return value
    }
    throw new TypeErrorCtor(join(what, ": expected a string or a Uint8Array"))
  }

  const HEADERS = "headers: expected [name, value] pairs, an object or Headers"

  function pair(name, value) {
    const copy = []
    append(copy, text(name))
    append(copy, text(value))
    return copy
  }

  /** @returns header fields as JSON text, "" for none. */
  function headersText(input) {
    if (input === undefined || input === null) return ""
    if (typeof input !== "object") throw new TypeErrorCtor(HEADERS)
    const pairs = []
    if (typeof input[iterator] === "function") {
      for (const entry of input) {
        if (typeof entry !== "object" || entry === null || entry.length !== 2) throw new TypeErrorCtor(HEADERS)
        append(pairs, pair(entry[0], entry[1]))
      }
    } else {
      const names = ownKeys(input)
      for (let i = 0; i < names.length; i++) {
        if (typeof names[i] === "string") append(pairs, pair(names[i], input[names[i]]))
      }
    }
    return stringify(pairs)
  }

  /** Gives the host the answer of on_request. @returns false when `result` is no answer. */
  function respond(id, result) {
    if (result.action === "respond") {
      const { status, headers, body } = result
      send(id, status === undefined ? 200 : status, headers, body)
      return true
    }
    const parts = loaded("$responseParts")?.(result)
    if (parts === undefined) return false
    send(id, parts.status, parts.headers, parts.body)
    return true
  }

  function send(id, status, headers, body) {
    const content = body === undefined || body === null ? undefined : payload(body, "body")
    op(codes.respond, id, typeof status === "number" ? status : -1, headersText(headers), content)
  }

  return {
    $headersText: headersText,
    $payload: payload,
    $respond: respond,
    $toBytes: (buffer) => new Uint8ArrayCtor(buffer),
    /** Fills a typed array with the bytes that `make(size)` gives. */
    $fillArray(array, make) {
      if (typeof array !== "object" || array === null || typeOfArray(array) === undefined) {
        throw new TypeErrorCtor("getRandomValues: expected a typed array")
      }
      const size = lengthOf(array)
      setBytes(new Uint8ArrayCtor(bufferOf(array), offsetOf(array), size), new Uint8ArrayCtor(make(size)))
      return array
    },
  }
}
