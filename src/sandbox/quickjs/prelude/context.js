/*
 * What hooks get as `ctx`. Nothing is passed in: every property that is read asks the host.
 * Every call makes these objects, so they are literals with the call's id under a symbol: a class with a private field
 * takes twice as long. A guest that looks for the symbol gets no further than it does with a `ctx` it kept.
 */
;(kit) => {
  const { op, codes, parse, text, need } = kit
  const { requestHeader } = codes
  const { iterator } = kit
  const ID = Symbol("call")

  /** A class for each side instead of a field: what a hot call makes has as few fields as possible. */
  class RequestHeaders {
    get(name) {
      return op(requestHeader, this[ID], typeof name === "string" ? name : text(name)) ?? null
    }
    has(name) {
      return op(requestHeader, this[ID], text(name)) !== undefined
    }
    *entries() {
      const pairs = parse(op(codes.headers, this[ID], 0))
      for (let i = 0; i < pairs.length; i++) yield pairs[i]
    }
    [iterator]() {
      return this.entries()
    }
  }

  // What the last call that asked got. As fields of Context they would cost every call something.
  let params
  let paramsOf = -1
  let response
  let responseOf = -1
  /** Of the library, once it is needed. */
  let changes

  class Context {
    get headers() {
      return requestHeaders(this[ID])
    }
    get searchParams() {
      if (paramsOf !== this[ID]) {
        params = new (need("URLSearchParams"))(op(codes.query, this[ID]))
        paramsOf = this[ID]
      }
      return params
    }
    get user() {
      return parse(op(codes.user, this[ID]))
    }
    get leader() {
      return op(codes.leader, this[ID]) === 1
    }
    get tenantId() {
      return op(codes.tenantId, this[ID]) ?? null
    }
    get siteId() {
      return op(codes.siteId, this[ID]) ?? null
    }
    get body() {
      return new (need("$BodyReader"))(this[ID], 0)
    }
    get extensions() {
      return new (need("$Extensions"))(this[ID])
    }
    get request() {
      return need("$changes")(this[ID], 0)
    }
    get response() {
      if (responseOf !== this[ID]) {
        changes ??= need("$changes")
        response = changes(this[ID], 1)
        responseOf = this[ID]
      }
      return response
    }
    setIdentity(identity) {
      need("$setIdentity")(this[ID], identity)
    }
    waitUntil(promise) {
      need("$waitUntil")(this[ID], promise)
    }
    get method() {
      return op(codes.method, this[ID])
    }
    get path() {
      return op(codes.path, this[ID])
    }
    get query() {
      return op(codes.query, this[ID])
    }
    get host() {
      return op(codes.host, this[ID])
    }
    get hostname() {
      return op(codes.hostname, this[ID])
    }
    get scheme() {
      return op(codes.scheme, this[ID])
    }
    get clientAddress() {
      return op(codes.clientAddress, this[ID])
    }
    get requestId() {
      return op(codes.requestId, this[ID])
    }
    get upgrade() {
      return op(codes.upgrade, this[ID]) ?? null
    }
  }

  const contextPrototype = Context.prototype
  const requestHeadersPrototype = RequestHeaders.prototype
  const requestHeaders = (id) => ({ __proto__: requestHeadersPrototype, [ID]: id })

  const newContext = (id) => ({ __proto__: contextPrototype, [ID]: id })

  kit.ID = ID
  kit.newContext = newContext
  kit.requestHeaders = requestHeaders
  // The engine keeps what objects of one form share as long as there is one: fresh guests find it in their image.
  kit.kept = [newContext(0), requestHeaders(0)]
}
