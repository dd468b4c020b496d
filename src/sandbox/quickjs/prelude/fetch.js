/* bext.fetch */
;(need) => {
  const { codes, op, parse, PromiseCtor, stringify, text, TypeErrorCtor } = need("$kit")
  const makeResponse = need("$makeResponse")

  function urlOf(url) {
    if (typeof url === "string") return url
    if (typeof url === "object" && url !== null && typeof url.href === "string") return url.href
    throw new TypeErrorCtor("bext.fetch: expected a URL")
  }

  function start(url, init, resolve, reject) {
    const { method = "GET", headers, body, redirect = "follow", signal } = init ?? {}
    if (signal?.aborted) throw signal.reason
    const request = stringify({ __proto__: null, url: urlOf(url), method: text(method), redirect: text(redirect) })
    const content = body === undefined || body === null ? undefined : need("$payload")(body, "bext.fetch")
    const arrived = (meta, bytes) => {
      const { status, url, redirected, headers } = parse(meta)
      resolve(makeResponse({ __proto__: null, status, url, redirected, headers, body: bytes }))
    }
    const task = op(codes.fetch, arrived, reject, request, need("$headersText")(headers), content)
    signal?.addEventListener?.("abort", () => {
      op(codes.cancel, task)
      reject(signal.reason)
    })
  }

  return { $fetch: (url, init) => new PromiseCtor((resolve, reject) => start(url, init, resolve, reject)) }
}
