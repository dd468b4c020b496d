/* What hooks get as `ctx`. Nothing is passed in: every property that is read asks the host. */
;(kit) => {
  const { op, codes, append, headersText, parse, payload, text, toBytes, stringify, need } = kit
  const iteratorSymbol = Symbol.iterator
  const { requestHeader, responseHeader } = codes
  const REQUEST = 0
  const RESPONSE = 1

  class HeadersView {
    #id
    #code
    constructor(id, code) {
      this.#id = id
      this.#code = code
    }
    get(name) {
      return op(this.#code, this.#id, typeof name === "string" ? name : text(name)) ?? null
    }
    has(name) {
      return op(this.#code, this.#id, text(name)) !== undefined
    }
    *entries() {
      const pairs = parse(op(codes.headers, this.#id, this.#code === requestHeader ? REQUEST : RESPONSE))
      for (let i = 0; i < pairs.length; i++) yield pairs[i]
    }
    [iteratorSymbol]() {
      return this.entries()
    }
    getSetCookie() {
      const pairs = parse(op(codes.headers, this.#id, this.#code === requestHeader ? REQUEST : RESPONSE))
      const values = []
      for (let i = 0; i < pairs.length; i++) if (pairs[i][0] === "set-cookie") append(values, pairs[i][1])
      return values
    }
  }

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
      return toBytes(op(codes.bodyBytes, this.#id, this.#side))
    }
  }

  /** Changes to one side of the exchange; reads of the response besides. */
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
      return new HeadersView(this.#id, this.#side === REQUEST ? requestHeader : responseHeader)
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
      op(codes.setBody, this.#id, this.#side, payload(body, "setBody"))
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

  class Context {
    #id
    #headers
    #searchParams
    constructor(id) {
      this.#id = id
    }
    get method() {
      return op(codes.method, this.#id)
    }
    get path() {
      return op(codes.path, this.#id)
    }
    get query() {
      return op(codes.query, this.#id)
    }
    get searchParams() {
      this.#searchParams ??= new (need("URLSearchParams"))(op(codes.query, this.#id))
      return this.#searchParams
    }
    get host() {
      return op(codes.host, this.#id)
    }
    get hostname() {
      return op(codes.hostname, this.#id)
    }
    get scheme() {
      return op(codes.scheme, this.#id)
    }
    get clientAddress() {
      return op(codes.clientAddress, this.#id)
    }
    get requestId() {
      return op(codes.requestId, this.#id)
    }
    get headers() {
      this.#headers ??= new HeadersView(this.#id, requestHeader)
      return this.#headers
    }
    get body() {
      return new BodyReader(this.#id, REQUEST)
    }
    get extensions() {
      return new Extensions(this.#id)
    }
    get user() {
      return parse(op(codes.user, this.#id))
    }
    get tenantId() {
      return op(codes.tenantId, this.#id) ?? null
    }
    get siteId() {
      return op(codes.siteId, this.#id) ?? null
    }
    get leader() {
      return op(codes.leader, this.#id) === 1
    }
    get request() {
      return new Changes(this.#id, REQUEST)
    }
    get response() {
      return new Changes(this.#id, RESPONSE)
    }
    setIdentity(identity) {
      for (const field of ["user", "tenantId", "siteId"]) {
        const value = identity[field]
        if (value !== undefined) op(codes.setIdentity, this.#id, field, stringify(value) ?? "null")
      }
    }
    waitUntil(promise) {
      waitUntil(this.#id, promise)
    }
  }

  class EventContext {
    #id
    constructor(id) {
      this.#id = id
    }
    get leader() {
      return op(codes.leader, this.#id) === 1
    }
    waitUntil(promise) {
      waitUntil(this.#id, promise)
    }
  }

  function waitUntil(id, promise) {
    op(codes.waitBegin, id)
    settle(id, promise)
  }

  async function settle(id, promise) {
    try {
      await promise
    } catch (error) {
      kit.report("waitUntil", error)
    }
    op(codes.waitEnd, id)
  }

  /** Gives the host the answer of on_request. @returns false when `result` is no answer. */
  function respond(id, result) {
    if (typeof result !== "object") return false
    if (result.action === "respond") {
      const { status, headers, body } = result
      send(id, status === undefined ? 200 : status, headers, body)
      return true
    }
    const parts = kit.loaded("$responseParts")?.(result)
    if (parts === undefined) return false
    send(id, parts.status, parts.headers, parts.body)
    return true
  }

  function send(id, status, headers, body) {
    const content = body === undefined || body === null ? undefined : payload(body, "body")
    op(codes.respond, id, typeof status === "number" ? status : -1, headersText(headers), content)
  }

  kit.Context = Context
  kit.EventContext = EventContext
  kit.respond = respond
}
