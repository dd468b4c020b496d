/* The parts of `ctx` that change the exchange or read bodies. */
;(need) => {
  const { append, codes, ID, iterator, op, parse, requestHeaders, stringify, text } = need("$kit")
  const { setHeader } = codes
  const SIDE = Symbol("side")

  class BodyReader {
    #id
    #side
    constructor(id, side) {
      this.#id = id
      this.#side = side
    }
    text() {
      return op(codes.bodyText, this.#id, this.#side)
    }
    json() {
      return parse(op(codes.bodyText, this.#id, this.#side))
    }
    bytes() {
      return need("$toBytes")(op(codes.bodyBytes, this.#id, this.#side))
    }
  }

  class ResponseHeaders {
    #id
    constructor(id) {
      this.#id = id
    }
    get(name) {
      return op(codes.responseHeader, this.#id, text(name)) ?? null
    }
    has(name) {
      return op(codes.responseHeader, this.#id, text(name)) !== undefined
    }
    *entries() {
      const pairs = parse(op(codes.headers, this.#id, 1))
      for (let i = 0; i < pairs.length; i++) yield pairs[i]
    }
    [iterator]() {
      return this.entries()
    }
    getSetCookie() {
      const pairs = parse(op(codes.headers, this.#id, 1))
      const found = []
      for (let i = 0; i < pairs.length; i++) if (pairs[i][0] === "set-cookie") append(found, pairs[i][1])
      return found
    }
  }

  /** Changes to one side of the exchange (0 request, 1 response); what can be read of the response besides. */
  class Changes {
    get status() {
      return op(codes.status, this[ID])
    }
    get headers() {
      return this[SIDE] === 0 ? requestHeaders(this[ID]) : new ResponseHeaders(this[ID])
    }
    get body() {
      return new BodyReader(this[ID], this[SIDE])
    }
    setStatus(status) {
      op(codes.setStatus, this[ID], +status)
    }
    setHeader(name, value) {
      const nameText = typeof name === "string" ? name : text(name)
      op(setHeader, this[ID], this[SIDE], nameText, typeof value === "string" ? value : text(value))
    }
    appendHeader(name, value) {
      op(codes.appendHeader, this[ID], this[SIDE], text(name), text(value))
    }
    removeHeader(name) {
      op(codes.removeHeader, this[ID], this[SIDE], text(name))
    }
    setPath(path) {
      op(codes.setPath, this[ID], text(path))
    }
    setQuery(query) {
      op(codes.setQuery, this[ID], text(query))
    }
    setMethod(method) {
      op(codes.setMethod, this[ID], text(method))
    }
    setBody(body) {
      op(codes.setBody, this[ID], this[SIDE], need("$payload")(body, "setBody"))
    }
  }

  const changesPrototype = Changes.prototype
  const changes = (id, side) => ({ __proto__: changesPrototype, [ID]: id, [SIDE]: side })

  class Extensions {
    #id
    constructor(id) {
      this.#id = id
    }
    get(key) {
      return op(codes.extension, this.#id, text(key)) ?? null
    }
    set(key, value) {
      op(codes.setExtension, this.#id, text(key), text(value))
    }
  }

  function setIdentity(id, identity) {
    const { user, tenantId, siteId } = identity
    if (user !== undefined) op(codes.setIdentity, id, "user", stringify(user))
    if (tenantId !== undefined) op(codes.setIdentity, id, "tenantId", stringify(tenantId))
    if (siteId !== undefined) op(codes.setIdentity, id, "siteId", stringify(siteId))
  }

  return { $BodyReader: BodyReader, $changes: changes, $Extensions: Extensions, $setIdentity: setIdentity }
}
