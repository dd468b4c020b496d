/* The parts of `ctx` that change the exchange or read bodies. */
;(need) => {
  const { append, codes, iterator, op, parse, RequestHeaders, stringify, text } = need("$kit")

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
    #id
    #side
    constructor(id, side) {
      this.#id = id
      this.#side = side
    }
    get status() {
      return op(codes.status, this.#id)
    }
    get headers() {
      return this.#side === 0 ? new RequestHeaders(this.#id) : new ResponseHeaders(this.#id)
    }
    get body() {
      return new BodyReader(this.#id, this.#side)
    }
    setStatus(status) {
      op(codes.setStatus, this.#id, +status)
    }
    setHeader(name, value) {
      op(codes.setHeader, this.#id, this.#side, text(name), text(value))
    }
    appendHeader(name, value) {
      op(codes.appendHeader, this.#id, this.#side, text(name), text(value))
    }
    removeHeader(name) {
      op(codes.removeHeader, this.#id, this.#side, text(name))
    }
    setPath(path) {
      op(codes.setPath, this.#id, text(path))
    }
    setBody(body) {
      op(codes.setBody, this.#id, this.#side, need("$payload")(body, "setBody"))
    }
  }

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

  return { $BodyReader: BodyReader, $Changes: Changes, $Extensions: Extensions, $setIdentity: setIdentity }
}
