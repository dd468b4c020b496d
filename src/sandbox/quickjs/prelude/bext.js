/* The global `bext`: what a guest may ask of the host outside its request. */
;(kit) => {
  const { op, codes, define, deepFreeze, headersText, need, parse, payload, PromiseCtor, stringify, text, toBytes } =
    kit
  const { TypeErrorCtor } = kit

  /** Asks the host for something that takes time. */
  const later = (start) => new PromiseCtor(start)
  const stored = (value) => (value === undefined ? null : typeof value === "string" ? value : toBytes(value))
  const ttl = (options) => {
    const value = options?.ttlMs
    return value === undefined ? 0 : +value
  }

  const storage = {
    get: (key) => stored(op(codes.storageGet, text(key))),
    set(key, value, options) {
      op(codes.storageSet, text(key), payload(value, "storage.set"), ttl(options))
    },
    delete: (key) => op(codes.storageDelete, text(key)) === 1,
    keys: (prefix, limit) =>
      parse(op(codes.storageKeys, prefix === undefined ? "" : text(prefix), limit === undefined ? 1000 : +limit)),
    incr: (key, by, options) =>
      later((resolve, reject) => {
        op(codes.storageIncr, resolve, reject, text(key), by === undefined ? 1 : +by, ttl(options))
      }),
    cas: (key, expected, value, options) =>
      later((resolve, reject) => {
        const before = expected === null || expected === undefined ? undefined : payload(expected, "storage.cas")
        op(
          codes.storageCas,
          (set) => resolve(set === 1),
          reject,
          text(key),
          before,
          payload(value, "storage.cas"),
          ttl(options),
        )
      }),
    flush: () => later((resolve, reject) => op(codes.storageFlush, resolve, reject)),
  }

  const digested = (result) => (typeof result === "string" ? result : toBytes(result))
  const encodingOf = (encoding) => (encoding === undefined ? "" : text(encoding))
  const crypto = {
    sha256: (data, encoding) => digested(op(codes.digest, payload(data, "sha256"), encodingOf(encoding))),
    hmac: (algorithm, key, data, encoding) =>
      digested(op(codes.hmac, text(algorithm), payload(key, "hmac"), payload(data, "hmac"), encodingOf(encoding))),
    timingSafeEqual: (a, b) =>
      op(codes.timingSafeEqual, payload(a, "timingSafeEqual"), payload(b, "timingSafeEqual")) === 1,
  }

  const urlOf = (url) => {
    if (typeof url === "string") return url
    if (typeof url === "object" && url !== null && typeof url.href === "string") return url.href
    throw new TypeErrorCtor("bext.fetch: expected a URL")
  }

  const fetch = (url, init) =>
    later((resolve, reject) => {
      const { method, headers, body, redirect, signal } = init ?? {}
      if (signal?.aborted) throw signal.reason
      const request = stringify({
        __proto__: null,
        url: urlOf(url),
        method: method === undefined ? "GET" : text(method),
        redirect: redirect === undefined ? "follow" : text(redirect),
      })
      const content = body === undefined || body === null ? undefined : payload(body, "bext.fetch")
      const arrived = (meta, bytes) => resolve(response(meta, bytes))
      const task = op(codes.fetch, arrived, reject, request, headersText(headers), content)
      signal?.addEventListener?.("abort", () => {
        op(codes.cancel, task)
        reject(signal.reason)
      })
    })

  function response(meta, body) {
    const parts = parse(meta)
    return need("$makeResponse")({ ...parts, body })
  }

  const bext = {
    storage: Object.freeze(storage),
    crypto: Object.freeze(crypto),
    fetch,
    secret: (name) => op(codes.secret, text(name)),
    metric(name, value, tags) {
      op(codes.metric, text(name), +value, tags === undefined ? "{}" : stringify(tags))
    },
  }

  /** Called once for each plugin, before its top level runs. */
  kit.configure = () => {
    define(bext, "config", deepFreeze(parse(op(codes.config))), true)
    Object.freeze(bext)
  }
  define(globalThis, "bext", bext, false)
}
