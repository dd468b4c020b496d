// Source: WHATWG HTML §8.3 (atob, btoa), WHATWG Infra §7 (forgiving-base64).
;(need) => {
  const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
  const { fromCharCode } = String
  const values = new Int8Array(128).fill(-1)
  for (let i = 0; i < 64; i++) values[alphabet.charCodeAt(i)] = i

  function invalid(what) {
    return new (need("DOMException"))(what, "InvalidCharacterError")
  }

  function btoa(data) {
    const text = `${data}`
    let out = ""
    for (let i = 0; i < text.length; i += 3) {
      const a = text.charCodeAt(i)
      const b = i + 1 < text.length ? text.charCodeAt(i + 1) : 0
      const c = i + 2 < text.length ? text.charCodeAt(i + 2) : 0
      if ((a | b | c) > 255) throw invalid("btoa takes characters up to U+00FF")
      out += alphabet[a >> 2] + alphabet[((a & 3) << 4) | (b >> 4)]
      out += i + 1 < text.length ? alphabet[((b & 15) << 2) | (c >> 6)] : "="
      out += i + 2 < text.length ? alphabet[c & 63] : "="
    }
    return out
  }

  function atob(data) {
    let text = `${data}`.replace(/[\t\n\f\r ]+/g, "")
    if (text.length % 4 === 0) text = text.replace(/==?$/, "")
    if (text.length % 4 === 1) throw invalid("not base64")
    let out = ""
    let bits = 0
    let held = 0
    for (let i = 0; i < text.length; i++) {
      const code = text.charCodeAt(i)
      const value = code < 128 ? values[code] : -1
      if (value === -1) throw invalid("not base64")
      bits = ((bits << 6) | value) & 0xffff
      held += 6
      if (held >= 8) {
        held -= 8
        out += fromCharCode((bits >> held) & 255)
      }
    }
    return out
  }
  return { atob, btoa }
}
