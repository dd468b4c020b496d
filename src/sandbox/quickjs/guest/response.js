// Source: WHATWG Fetch §5.3 (Body), §5.5 (Response class). Bodies are whole: text or bytes, no streams.
;(need) => {
  const { isView } = ArrayBuffer
  const nullBody = [101, 103, 204, 205, 304]
  // Fields that describe one transfer. They do not belong to a response that is passed on.
  const perTransfer =
    /^(connection|content-encoding|content-length|keep-alive|proxy-connection|te|trailer|transfer-encoding|upgrade)$/
  const internal = {}
  let parts

  class Response {
    #body = null
    #used = false
    #status
    #statusText
    // null until somebody gives or asks for them: most responses have a content-type at most.
    #headers = null
    #contentType = null
    #url = ""
    #redirected = false
    // Came from bext.fetch, or was made after one that did.
    #fetched = false
    #type = "default"

    static {
      parts = (value) => (typeof value === "object" && value !== null && #body in value ? value.#parts() : undefined)
    }

    constructor(body = null, init = {}, key = undefined) {
      if (key === internal) {
        this.#status = init.status
        this.#statusText = ""
        this.#headers = new (need("Headers"))(init.headers)
        this.#url = init.url ?? ""
        this.#redirected = init.redirected ?? false
        this.#fetched = init.fetched ?? false
        this.#type = init.type ?? "default"
        this.#body = body
        return
      }
      const options = init ?? {}
      if (typeof options !== "object") throw new TypeError("init is an object")
      this.#status = toStatus(options.status)
      this.#statusText = toStatusText(options.statusText)
      if (options.headers !== undefined) this.#headers = new (need("Headers"))(options.headers)
      this.#fetched = #body in options && options.#fetched
      if (body === null || body === undefined) return
      if (nullBody.includes(this.#status)) throw new TypeError(`a ${this.#status} response has no body`)
      this.#body = toBody(body)
      this.#contentType = typeOf(body)
      if (this.#headers !== null) this.#addContentType()
    }

    static json(data, init = undefined) {
      const text = JSON.stringify(data)
      if (text === undefined) throw new TypeError("the value has no JSON form")
      const response = new Response(null, init)
      if (nullBody.includes(response.#status)) throw new TypeError(`a ${response.#status} response has no body`)
      response.#body = text.toWellFormed()
      response.#contentType = "application/json"
      if (response.#headers !== null) response.#addContentType()
      return response
    }
    static redirect(url, status = 302) {
      const location = new (need("URL"))(url).href
      if (![301, 302, 303, 307, 308].includes(status)) throw new RangeError(`${status} is not a redirect status`)
      return new Response(null, { status, headers: [["location", location]] }, internal)
    }
    static error() {
      return new Response(null, { status: 0, type: "error" }, internal)
    }

    get status() {
      return this.#status
    }
    get statusText() {
      return this.#statusText
    }
    get ok() {
      return this.#status >= 200 && this.#status <= 299
    }
    get headers() {
      if (this.#headers === null) {
        this.#headers = new (need("Headers"))()
        this.#addContentType()
      }
      return this.#headers
    }
    get url() {
      return this.#url
    }
    get redirected() {
      return this.#redirected
    }
    get type() {
      return this.#type
    }
    get bodyUsed() {
      return this.#used
    }

    get [Symbol.toStringTag]() {
      return "Response"
    }
    async text() {
      const body = this.#take()
      return typeof body === "string" ? body.replace(/^\ufeff/, "") : new (need("TextDecoder"))().decode(body)
    }
    async json() {
      return JSON.parse(await this.text())
    }
    async bytes() {
      const body = this.#take()
      return typeof body === "string" ? new (need("TextEncoder"))().encode(body) : body.slice()
    }
    async arrayBuffer() {
      return (await this.bytes()).buffer
    }
    clone() {
      if (this.#used) throw new TypeError("the body was read already")
      const copy = new Response(this.#body, { status: this.#status, headers: this.headers }, internal)
      copy.#statusText = this.#statusText
      copy.#url = this.#url
      copy.#redirected = this.#redirected
      copy.#fetched = this.#fetched
      copy.#type = this.#type
      return copy
    }

    #addContentType() {
      if (this.#contentType === null || this.#headers.has("content-type")) return
      this.#headers.set("content-type", this.#contentType)
    }
    #take() {
      if (this.#used) throw new TypeError("the body was read already")
      this.#used = this.#body !== null
      return this.#body ?? ""
    }
    #parts() {
      const type = this.#contentType
      const pairs =
        this.#headers === null ? (type === null ? [] : [["content-type", type]]) : need("$headerPairs")(this.#headers)
      const headers = this.#fetched ? pairs.filter((pair) => !perTransfer.test(pair[0])) : pairs
      return { status: this.#status, headers, body: this.#body }
    }
  }
  function toBody(body) {
    if (isView(body)) return new Uint8Array(body.buffer, body.byteOffset, body.byteLength).slice()
    if (body instanceof ArrayBuffer) return new Uint8Array(body.slice(0))
    return `${body}`.toWellFormed()
  }

  function typeOf(body) {
    if (isView(body) || body instanceof ArrayBuffer) return null
    if (typeof body === "object" && body instanceof need("URLSearchParams")) {
      return "application/x-www-form-urlencoded;charset=UTF-8"
    }
    return "text/plain;charset=UTF-8"
  }

  // Web IDL's unsigned short: truncated, modulo 2^16.
  function toStatus(status = 200) {
    const number = (Number(status) | 0) & 0xffff
    if (number < 200 || number > 599) throw new RangeError(`status is from 200 to 599, not ${status}`)
    return number
  }

  function toStatusText(text = "") {
    if (!/^[\t\x20-\x7e\x80-\xff]*$/.test(`${text}`)) throw new TypeError("statusText has forbidden characters")
    return `${text}`
  }

  function makeResponse({ status, url, redirected, headers, body }) {
    const bytes = nullBody.includes(status) ? null : new Uint8Array(body)
    return new Response(bytes, { status, url, redirected, headers, fetched: true }, internal)
  }
  // `$responseParts(value)`: undefined unless it is a Response. `$makeResponse(parts)`: what bext.fetch gives.
  return { Response, $responseParts: parts, $makeResponse: makeResponse }
}
