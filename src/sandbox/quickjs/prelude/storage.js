/* bext.storage */
;(need) => {
  const { codes, freeze, op, parse, PromiseCtor, text } = need("$kit")
  const payload = need("$payload")
  const toBytes = need("$toBytes")

  const later = (start) => new PromiseCtor(start)
  const ttl = (options) => {
    const value = options?.ttlMs
    return value === undefined ? 0 : +value
  }

  const storage = {
    get(key) {
      const value = op(codes.storageGet, text(key))
      return value === undefined ? null : typeof value === "string" ? value : toBytes(value)
    },
    set(key, value, options) {
      op(codes.storageSet, text(key), payload(value, "storage.set"), ttl(options))
    },
    delete: (key) => op(codes.storageDelete, text(key)) === 1,
    keys: (prefix = "", limit = 1000) => parse(op(codes.storageKeys, text(prefix), +limit)),
    incr: (key, by = 1, options) =>
      later((resolve, reject) => {
        op(codes.storageIncr, resolve, reject, text(key), +by, ttl(options))
      }),
    cas: (key, expected, value, options) =>
      later((resolve, reject) => {
        const before = expected === null || expected === undefined ? undefined : payload(expected, "storage.cas")
        const done = (set) => resolve(set === 1)
        op(codes.storageCas, done, reject, text(key), before, payload(value, "storage.cas"), ttl(options))
      }),
    flush: () => later((resolve, reject) => op(codes.storageFlush, resolve, reject)),
  }
  return { $storage: freeze(storage) }
}
