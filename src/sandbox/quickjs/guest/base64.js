// Source: WHATWG HTML §8.3 (atob, btoa), WHATWG Infra §7 (forgiving-base64).
;(need) => {
  const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
  const toUtf8 = need("$utf8Encode")
  const fromUtf8 = need("$utf8Decode")
  const { fromCharCode } = String
  const { apply } = Reflect
  const Bytes = Uint8Array
  const PAD = 61
  const codes = new Bytes(toUtf8(alphabet))
  const values = new Bytes(256).fill(255)
  for (let i = 0; i < 64; i++) values[codes[i]] = i

  function invalid(what) {
    return new (need("DOMException"))(what, "InvalidCharacterError")
  }

  // One byte a character, or undefined. The host's UTF-8 is the fast way for ASCII.
  function toBytes(text) {
    const ascii = new Bytes(toUtf8(text.toWellFormed()))
    if (ascii.length === text.length) return ascii
    const bytes = new Bytes(text.length)
    for (let i = 0; i < text.length; i++) {
      const code = text.charCodeAt(i)
      if (code > 255) return undefined
      bytes[i] = code
    }
    return bytes
  }

  function btoa(data) {
    const bytes = toBytes(`${data}`)
    if (bytes === undefined) throw invalid("btoa takes characters up to U+00FF")
    const { length } = bytes
    const out = new Bytes(4 * Math.ceil(length / 3))
    let at = 0
    for (let i = 0; i < length; i += 3) {
      const group = (bytes[i] << 16) | (bytes[i + 1] << 8) | bytes[i + 2]
      out[at++] = codes[group >> 18]
      out[at++] = codes[(group >> 12) & 63]
      out[at++] = i + 1 < length ? codes[(group >> 6) & 63] : PAD
      out[at++] = i + 2 < length ? codes[group & 63] : PAD
    }
    return fromUtf8(out.buffer)
  }

  function atob(data) {
    let text = `${data}`.replace(/[\t\n\f\r ]+/g, "")
    if (text.length % 4 === 0) text = text.replace(/==?$/, "")
    const bytes = toBytes(text)
    if (bytes === undefined || text.length % 4 === 1) throw invalid("not base64")
    let at = 0
    let bits = 0
    let held = 0
    for (let i = 0; i < bytes.length; i++) {
      const value = values[bytes[i]]
      if (value === 255) throw invalid("not base64")
      bits = ((bits << 6) | value) & 0xffff
      held += 6
      if (held >= 8) {
        held -= 8
        bytes[at++] = bits >> held
      }
    }
    return toText(bytes.subarray(0, at))
  }

  function toText(bytes) {
    let out = ""
    for (let i = 0; i < bytes.length; i += 4096) out += apply(fromCharCode, undefined, bytes.subarray(i, i + 4096))
    return out
  }
  return { atob, btoa }
}
