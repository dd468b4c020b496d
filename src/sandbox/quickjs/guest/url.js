// Source: WHATWG URL. Not covered: hosts with non-ASCII letters throw (write punycode), "xn--" labels are not checked,
// no blob store.
;(need) => {
  const ports = { "ftp:": "21", "file:": "", "http:": "80", "https:": "443", "ws:": "80", "wss:": "443" }
  const isSpecial = (url) => Object.hasOwn(ports, url.scheme)

  // Percent-encode sets (§1.3), as what they match; "^" and "|" differ between path and userinfo.
  const C0 = /[^\x20-\x7e]/gu
  const FRAGMENT = /[\0-\x20"<>`\x7f-\u{10ffff}]/gu
  const QUERY = /[\0-\x20"#<>\x7f-\u{10ffff}]/gu
  const SPECIAL_QUERY = /[\0-\x20"#<>'\x7f-\u{10ffff}]/gu
  const PATH = /[\0-\x20"#<>?^`{}\x7f-\u{10ffff}]/gu
  const USERINFO = /[\0-\x20"#<>?^`{}/:;=@[\\\]|\x7f-\u{10ffff}]/gu

  const DRIVE = /^[a-zA-Z][:|]$/
  const NORMALISED_DRIVE = /^[a-zA-Z]:$/
  const STARTS_WITH_DRIVE = /^[a-zA-Z][:|](?:$|[/\\])/
  const SINGLE_DOT = /^(?:\.|%2[eE])$/
  const DOUBLE_DOT = /^(?:\.|%2[eE]){2}$/
  const FORBIDDEN_HOST = /[\0\t\n\r #/:<>?@[\\\]^|]/
  const FORBIDDEN_DOMAIN = /[\0-\x20#%/:<>?@[\\\]^|\x7f]/

  const encode = (text, set) => text.replace(set, encodeChar)
  function encodeChar(char) {
    if (char > "\x7f") return encodeURIComponent(char)
    const hex = char.charCodeAt(0).toString(16).toUpperCase()
    return hex.length === 1 ? `%0${hex}` : `%${hex}`
  }

  function fail(what) {
    throw new TypeError(`Invalid URL: ${what}`)
  }

  // §4.4. The state machine of the standard, written as the grammar it accepts.
  function parse(input, base) {
    const text = removeBreaks(input.replace(/^[\0-\x20]+/, "").replace(/[\0-\x20]+$/, ""))
    const scheme = /^[a-zA-Z][a-zA-Z0-9+.-]*:/.exec(text)?.[0]
    const { body, query, fragment } = split(scheme === undefined ? text : text.slice(scheme.length))
    const url = { scheme: "", username: "", password: "", host: null, port: "", path: [], query: null, fragment: null }
    if (scheme !== undefined) {
      url.scheme = scheme.toLowerCase()
      parseAbsolute(url, body, query, base, fragment)
    } else {
      if (base === null) fail(`${shown(text)} is not absolute`)
      url.scheme = base.scheme
      if (typeof base.path === "string") {
        if (body !== "" || query !== null || fragment === null) fail(`${shown(text)} cannot follow ${base.scheme}`)
        url.path = base.path
        url.query = base.query
      } else if (base.scheme === "file:") parseFile(url, body, query, base)
      else parseRelative(url, body, query, base)
    }
    if (query !== null) url.query = encode(query, isSpecial(url) ? SPECIAL_QUERY : QUERY)
    if (fragment !== null) url.fragment = encode(fragment, FRAGMENT)
    return url
  }

  const removeBreaks = (text) => text.replace(/[\t\n\r]+/g, "")
  const shown = (text) => JSON.stringify(text.length > 100 ? `${text.slice(0, 100)}…` : text)

  function split(text) {
    const hash = text.indexOf("#")
    const rest = hash === -1 ? text : text.slice(0, hash)
    const mark = rest.indexOf("?")
    return {
      body: mark === -1 ? rest : rest.slice(0, mark),
      query: mark === -1 ? null : rest.slice(mark + 1),
      fragment: hash === -1 ? null : text.slice(hash + 1),
    }
  }

  function parseAbsolute(url, body, query, base, fragment) {
    if (url.scheme === "file:") parseFile(url, body, query, base?.scheme === "file:" ? base : null)
    else if (isSpecial(url)) {
      if (base?.scheme === url.scheme && !/^[/\\]{2}/.test(body)) parseRelative(url, body, query, base)
      else parseAuthority(url, body.replace(/^[/\\]+/, ""))
    } else if (body.startsWith("//")) parseAuthority(url, body.slice(2))
    else if (body.startsWith("/")) parsePath(url, body.slice(1))
    // A space in front of "?" or "#" would otherwise be lost when both are removed and the URL is read again.
    else url.path = encode(query === null && fragment === null ? body : body.replace(/ $/, "%20"), C0)
  }

  function parseRelative(url, body, query, base) {
    const slash = isSpecial(url) ? /^[/\\]/ : /^\//
    if (slash.test(body)) {
      if (slash.test(body.slice(1))) {
        parseAuthority(url, isSpecial(url) ? body.replace(/^[/\\]+/, "") : body.slice(2))
        return
      }
      copyAuthority(url, base)
      parsePath(url, body.slice(1))
      return
    }
    copyAuthority(url, base)
    inheritPath(url, body, query, base)
  }

  function copyAuthority(url, base) {
    url.username = base.username
    url.password = base.password
    url.host = base.host
    url.port = base.port
  }

  function inheritPath(url, body, query, base) {
    url.path = [...base.path]
    if (body === "") {
      if (query === null) url.query = base.query
      return
    }
    shorten(url)
    parsePath(url, body)
  }

  function parseFile(url, body, query, base) {
    url.host = ""
    if (/^[/\\]{2}/.test(body)) {
      const end = body.slice(2).search(/[/\\]/)
      const host = end === -1 ? body.slice(2) : body.slice(2, end + 2)
      if (DRIVE.test(host)) parsePath(url, body.slice(2))
      else {
        url.host = host === "" ? "" : parseFileHost(host)
        parsePathStart(url, body.slice(host.length + 2))
      }
    } else if (/^[/\\]/.test(body)) {
      if (base !== null) {
        url.host = base.host
        if (!STARTS_WITH_DRIVE.test(body.slice(1)) && NORMALISED_DRIVE.test(base.path[0] ?? ""))
          url.path = [base.path[0]]
      }
      parsePath(url, body.slice(1))
    } else if (base !== null) {
      url.host = base.host
      if (STARTS_WITH_DRIVE.test(body)) parsePath(url, body)
      else inheritPath(url, body, query, base)
    } else parsePath(url, body)
  }

  function parseFileHost(text) {
    const host = parseHost(text, true)
    return host === "localhost" ? "" : host
  }

  function parseAuthority(url, text) {
    const end = text.search(isSpecial(url) ? /[/\\]/ : /\//)
    const authority = end === -1 ? text : text.slice(0, end)
    const at = authority.lastIndexOf("@")
    if (at !== -1) {
      const colon = authority.indexOf(":")
      const hasPassword = colon !== -1 && colon < at
      url.username = encode(authority.slice(0, hasPassword ? colon : at), USERINFO)
      if (hasPassword) url.password = encode(authority.slice(colon + 1, at), USERINFO)
    }
    const { host, port } = splitPort(authority.slice(at + 1))
    if (host === "" && (isSpecial(url) || at !== -1 || port !== null)) fail("the host is empty")
    url.host = parseHost(host, isSpecial(url))
    if (port !== null) {
      if (/[^0-9]/.test(port)) fail(`${shown(port)} is not a port`)
      setPort(url, port)
    }
    if (end !== -1) parsePathStart(url, text.slice(end))
    else if (isSpecial(url)) url.path = [""]
  }

  // At the first ":" that is not inside brackets.
  function splitPort(text) {
    const end = /^(?:[^:[]|\[[^\]]*(?:\]|$))*/.exec(text)[0].length
    return end === text.length ? { host: text, port: null } : { host: text.slice(0, end), port: text.slice(end + 1) }
  }

  function setPort(url, digits) {
    if (digits === "") return
    const port = Number(digits)
    if (port > 65535) fail(`${digits} is not a port`)
    url.port = `${port}` === ports[url.scheme] ? "" : `${port}`
  }

  function parsePathStart(url, text) {
    if (isSpecial(url)) parsePath(url, text.replace(/^[/\\]/, ""))
    else if (text !== "") parsePath(url, text.replace(/^\//, ""))
  }

  // Appends segments; `text` begins after the slash, if there was one.
  function parsePath(url, text) {
    const segments = text.split(isSpecial(url) ? /[/\\]/ : "/")
    segments.forEach((segment, i) => {
      const isLast = i === segments.length - 1
      if (DOUBLE_DOT.test(segment)) {
        shorten(url)
        if (isLast) url.path.push("")
      } else if (SINGLE_DOT.test(segment)) {
        if (isLast) url.path.push("")
      } else {
        const isDrive = url.scheme === "file:" && url.path.length === 0 && DRIVE.test(segment)
        url.path.push(isDrive ? `${segment[0]}:` : encode(segment, PATH))
      }
    })
  }

  function shorten(url) {
    if (url.scheme === "file:" && url.path.length === 1 && NORMALISED_DRIVE.test(url.path[0])) return
    url.path.pop()
  }

  // §3.5
  function parseHost(text, special) {
    if (text.startsWith("[")) {
      if (!text.endsWith("]")) fail("an IPv6 address ends in ]")
      return `[${writeIPv6(parseIPv6(text.slice(1, -1)))}]`
    }
    if (!special) {
      if (FORBIDDEN_HOST.test(text)) fail(`${shown(text)} is not a host`)
      return encode(text, C0)
    }
    const domain = text
      .replace(/%([0-9a-fA-F]{2})/g, (_, hex) => String.fromCharCode(Number.parseInt(hex, 16)))
      .toLowerCase()
    if (/[^\0-\x7f]/.test(text) || /[^\0-\x7f]/.test(domain)) fail(`${shown(text)}: write a non-ASCII host in punycode`)
    if (domain === "" || FORBIDDEN_DOMAIN.test(domain)) fail(`${shown(text)} is not a host`)
    return endsInNumber(domain) ? parseIPv4(domain) : domain
  }

  function endsInNumber(domain) {
    const parts = domain.split(".")
    if (parts.at(-1) === "" && parts.length > 1) parts.pop()
    return /^(?:[0-9]+|0x[0-9a-f]*)$/.test(parts.at(-1))
  }

  function parseIPv4(domain) {
    const parts = domain.split(".")
    if (parts.at(-1) === "" && parts.length > 1) parts.pop()
    const numbers = parts.map(parseIPv4Number)
    const last = numbers.pop()
    if (numbers.length > 3 || numbers.some((n) => !(n <= 255)) || !(last < 256 ** (4 - numbers.length))) {
      fail(`${shown(domain)} is not an IPv4 address`)
    }
    const address = numbers.reduce((sum, n, i) => sum + n * 256 ** (3 - i), last)
    return [24, 16, 8, 0].map((shift) => Math.floor(address / 2 ** shift) % 256).join(".")
  }

  function parseIPv4Number(part) {
    if (/^0x[0-9a-f]*$/.test(part)) return part === "0x" ? 0 : Number.parseInt(part, 16)
    if (/^0[0-7]+$/.test(part)) return Number.parseInt(part, 8)
    return /^(?:0|[1-9][0-9]*)$/.test(part) ? Number(part) : Number.NaN
  }

  // At most one "::", pieces of 1 to 4 hex digits, the last two perhaps as a dotted IPv4 address.
  function parseIPv6(text) {
    const bad = () => fail(`${shown(text)} is not an IPv6 address`)
    const halves = text.split("::")
    if (halves.length > 2 || /^:(?!:)|[^:]:$|:::/.test(text)) bad()
    const pieces = halves.map((half, i) => {
      if (half === "") return []
      return half.split(":").flatMap((piece, j, all) => {
        if (/^[0-9a-fA-F]{1,4}$/.test(piece)) return [Number.parseInt(piece, 16)]
        if (i !== halves.length - 1 || j !== all.length - 1) bad()
        const bytes =
          /^(?:(?:0|[1-9][0-9]{0,2})(?:\.|$)){4}$/.test(piece) && !piece.endsWith(".")
            ? piece.split(".").map(Number)
            : bad()
        if (bytes.some((byte) => byte > 255)) bad()
        return [bytes[0] * 256 + bytes[1], bytes[2] * 256 + bytes[3]]
      })
    })
    const missing = 8 - pieces.reduce((sum, half) => sum + half.length, 0)
    if (halves.length === 1 ? missing !== 0 : missing < 1) bad()
    return halves.length === 1 ? pieces[0] : [...pieces[0], ...new Array(missing).fill(0), ...pieces[1]]
  }

  // The longest run of two or more zero pieces, the first of equals, becomes "::".
  function writeIPv6(pieces) {
    let start = -1
    let length = 1
    for (let i = 0; i < 8; i++) {
      let end = i
      while (end < 8 && pieces[end] === 0) end++
      if (end - i > length) {
        start = i
        length = end - i
      }
    }
    const hex = pieces.map((piece) => piece.toString(16))
    if (start === -1) return hex.join(":")
    return `${hex.slice(0, start).join(":")}::${hex.slice(start + length).join(":")}`
  }

  // §4.5
  function write(url) {
    const { query, fragment } = url
    return `${url.scheme}${writeAuthority(url)}${writePath(url)}${query === null ? "" : `?${query}`}${fragment === null ? "" : `#${fragment}`}`
  }

  function writeAuthority(url) {
    if (url.host === null) return Array.isArray(url.path) && url.path.length > 1 && url.path[0] === "" ? "/." : ""
    const password = url.password === "" ? "" : `:${url.password}`
    const credentials = url.username === "" && password === "" ? "" : `${url.username}${password}@`
    return `//${credentials}${writeHost(url)}`
  }

  const writeHost = (url) => (url.port === "" ? (url.host ?? "") : `${url.host}:${url.port}`)
  const writePath = ({ path }) => (typeof path === "string" ? path : path.map((segment) => `/${segment}`).join(""))
  const cannotHaveCredentials = (url) => url.host === null || url.host === "" || url.scheme === "file:"

  // What the setters do with input the standard calls a failure: nothing.
  function ignoringFailure(change) {
    try {
      change()
    } catch (error) {
      if (!(error instanceof TypeError)) throw error
    }
  }

  function setHost(url, text, withPort) {
    const input = removeBreaks(text)
    const end = input.search(isSpecial(url) ? /[/\\?#]/ : /[/?#]/)
    const authority = end === -1 ? input : input.slice(0, end)
    if (url.scheme === "file:") {
      url.host = authority === "" ? "" : parseFileHost(authority)
      return
    }
    const { host, port } = splitPort(authority)
    if (port !== null && (host === "" || !withPort)) return
    if (host === "" && (isSpecial(url) || url.username !== "" || url.password !== "" || url.port !== "")) return
    url.host = parseHost(host, isSpecial(url))
    if (port !== null) setPort(url, /^[0-9]*/.exec(port)[0])
  }

  function setScheme(url, text) {
    const scheme = /^[a-zA-Z][a-zA-Z0-9+.-]*:/.exec(`${removeBreaks(text)}:`)?.[0].toLowerCase()
    if (scheme === undefined || Object.hasOwn(ports, scheme) !== isSpecial(url)) return
    if (scheme === "file:" && (url.username !== "" || url.password !== "" || url.port !== "")) return
    if (url.scheme === "file:" && url.host === "") return
    url.scheme = scheme
    if (url.port === ports[scheme]) url.port = ""
  }

  class URL {
    #url
    #params = null

    constructor(url, base = undefined) {
      const start = base === undefined ? null : parse(`${base}`.toWellFormed(), null)
      this.#url = parse(`${url}`.toWellFormed(), start)
    }
    static canParse(url, base = undefined) {
      return URL.parse(url, base) !== null
    }
    static parse(url, base = undefined) {
      try {
        return new URL(url, base)
      } catch {
        return null
      }
    }

    get href() {
      return write(this.#url)
    }
    set href(value) {
      this.#url = parse(`${value}`.toWellFormed(), null)
      this.#refreshParams()
    }
    get origin() {
      const { scheme, path } = this.#url
      if (scheme === "blob:") {
        const inner = typeof path === "string" ? URL.parse(path) : null
        return /^https?:$/.test(inner?.protocol ?? "") ? inner.origin : "null"
      }
      return isSpecial(this.#url) && scheme !== "file:" ? `${scheme}//${writeHost(this.#url)}` : "null"
    }
    get protocol() {
      return this.#url.scheme
    }
    set protocol(value) {
      setScheme(this.#url, `${value}`.toWellFormed())
    }
    get username() {
      return this.#url.username
    }
    set username(value) {
      if (!cannotHaveCredentials(this.#url)) this.#url.username = encode(`${value}`.toWellFormed(), USERINFO)
    }
    get password() {
      return this.#url.password
    }
    set password(value) {
      if (!cannotHaveCredentials(this.#url)) this.#url.password = encode(`${value}`.toWellFormed(), USERINFO)
    }
    get host() {
      return writeHost(this.#url)
    }
    set host(value) {
      this.#setHost(`${value}`.toWellFormed(), true)
    }
    get hostname() {
      return this.#url.host ?? ""
    }
    set hostname(value) {
      this.#setHost(`${value}`.toWellFormed(), false)
    }
    get port() {
      return this.#url.port
    }
    set port(value) {
      if (cannotHaveCredentials(this.#url)) return
      const text = `${value}`
      if (text === "") this.#url.port = ""
      else ignoringFailure(() => setPort(this.#url, /^[0-9]*/.exec(removeBreaks(text))[0]))
    }
    get pathname() {
      return writePath(this.#url)
    }
    set pathname(value) {
      if (typeof this.#url.path === "string") return
      const text = removeBreaks(`${value}`.toWellFormed())
      this.#url.path = text === "" && !isSpecial(this.#url) && this.#url.host === null ? [""] : []
      parsePathStart(this.#url, text)
    }
    get search() {
      return this.#url.query ? `?${this.#url.query}` : ""
    }
    set search(value) {
      const text = `${value}`.toWellFormed()
      const query = removeBreaks(text.replace(/^\?/, ""))
      this.#url.query = text === "" ? null : encode(query, isSpecial(this.#url) ? SPECIAL_QUERY : QUERY)
      this.#refreshParams()
    }
    get searchParams() {
      if (this.#params === null) {
        this.#params = need("$linkedParams")(this.#url.query ?? "", (query) => {
          this.#url.query = query === "" ? null : query
        })
      }
      return this.#params
    }
    get hash() {
      return this.#url.fragment ? `#${this.#url.fragment}` : ""
    }
    set hash(value) {
      const text = `${value}`.toWellFormed()
      this.#url.fragment = text === "" ? null : encode(removeBreaks(text.replace(/^#/, "")), FRAGMENT)
    }
    get [Symbol.toStringTag]() {
      return "URL"
    }
    toString() {
      return this.href
    }
    toJSON() {
      return this.href
    }

    #setHost(text, withPort) {
      if (typeof this.#url.path !== "string") ignoringFailure(() => setHost(this.#url, text, withPort))
    }
    #refreshParams() {
      if (this.#params !== null) need("$setParams")(this.#params, this.#url.query ?? "")
    }
  }

  return { URL }
}
