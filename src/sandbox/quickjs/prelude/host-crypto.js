/* bext.crypto */
;(need) => {
  const { codes, freeze, op, text } = need("$kit")
  const payload = need("$payload")

  const digested = (result) => (typeof result === "string" ? result : need("$toBytes")(result))
  const encodingOf = (encoding) => (encoding === undefined ? "" : text(encoding))

  const crypto = {
    sha256: (data, encoding) => digested(op(codes.digest, payload(data, "sha256"), encodingOf(encoding))),
    hmac: (algorithm, key, data, encoding) =>
      digested(op(codes.hmac, text(algorithm), payload(key, "hmac"), payload(data, "hmac"), encodingOf(encoding))),
    timingSafeEqual: (a, b) =>
      op(codes.timingSafeEqual, payload(a, "timingSafeEqual"), payload(b, "timingSafeEqual")) === 1,
  }
  return { $hostCrypto: freeze(crypto) }
}
