/* What hooks get as `ctx`. Nothing is passed in: every property that is read asks the host. */
;(kit) => {
  const { op, codes, parse, text, need } = kit
  const { requestHeader } = codes
  const { iterator } = kit

  /** A class for each side instead of a field: what a hot call makes has as few fields as possible. */
  class RequestHeaders {
    #id
    constructor(id) {
      this.#id = id
    }
    get(name) {
      return op(requestHeader, this.#id, typeof name === "string" ? name : text(name)) ?? null
    }
    has(name) {
      return op(requestHeader, this.#id, text(name)) !== undefined
    }
    *entries() {
      const pairs = parse(op(codes.headers, this.#id, 0))
      for (let i = 0; i < pairs.length; i++) yield pairs[i]
    }
    [iterator]() {
      return this.entries()
    }
  }

  // The parsed query of the last call that asked. As a field of Context it would cost every call something.
  let params
  let paramsOf = -1

  class Context {
    #id
    constructor(id) {
      this.#id = id
    }
    get headers() {
      return new RequestHeaders(this.#id)
    }
    get searchParams() {
      if (paramsOf !== this.#id) {
        params = new (need("URLSearchParams"))(op(codes.query, this.#id))
        paramsOf = this.#id
      }
      return params
    }
    get user() {
      return parse(op(codes.user, this.#id))
    }
    get leader() {
      return op(codes.leader, this.#id) === 1
    }
    get tenantId() {
      return op(codes.tenantId, this.#id) ?? null
    }
    get siteId() {
      return op(codes.siteId, this.#id) ?? null
    }
    get body() {
      return new (need("$BodyReader"))(this.#id, 0)
    }
    get extensions() {
      return new (need("$Extensions"))(this.#id)
    }
    get request() {
      return new (need("$Changes"))(this.#id, 0)
    }
    get response() {
      return new (need("$Changes"))(this.#id, 1)
    }
    setIdentity(identity) {
      need("$setIdentity")(this.#id, identity)
    }
    waitUntil(promise) {
      need("$waitUntil")(this.#id, promise)
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
  }

  kit.RequestHeaders = RequestHeaders
  kit.Context = Context
}
