/* The global `bext`: what a guest may ask of the host outside its request. */
;(need) => {
  const { codes, freeze, op, parse, stringify, text, values } = need("$kit")

  function deepFreeze(value) {
    if (typeof value !== "object" || value === null) return value
    const children = values(value)
    for (let i = 0; i < children.length; i++) deepFreeze(children[i])
    return freeze(value)
  }

  const bext = {
    config: deepFreeze(parse(op(codes.config))),
    get storage() {
      return need("$storage")
    },
    get crypto() {
      return need("$hostCrypto")
    },
    get queue() {
      return need("$queue")
    },
    fetch: (url, init) => need("$fetch")(url, init),
    secret: (name) => op(codes.secret, text(name)),
    metric(name, value, tags) {
      op(codes.metric, text(name), +value, tags === undefined ? "{}" : (stringify(tags) ?? "{}"))
    },
  }
  return { bext: freeze(bext) }
}
