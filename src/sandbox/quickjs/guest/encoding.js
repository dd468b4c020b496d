// Source: WHATWG Encoding §7 (API), §8.1 (UTF-8). UTF-8 is the only encoding. The host does the conversion.
;(need) => {
  const toUtf8 = need("$utf8Encode")
  const fromUtf8 = need("$utf8Decode")
  const labels = ["utf-8", "utf8", "unicode-1-1-utf-8", "unicode11utf8", "unicode20utf8", "x-unicode20utf8"]
  const Bytes = Uint8Array
  const { isView } = ArrayBuffer

  class TextEncoder {
    get encoding() {
      return "utf-8"
    }
    encode(input = "") {
      return new Bytes(toUtf8(`${input}`.toWellFormed()))
    }
    encodeInto(source, destination) {
      if (!(destination instanceof Bytes)) throw new TypeError("destination must be a Uint8Array")
      let read = 0
      let written = 0
      for (const char of `${source}`.toWellFormed()) {
        const size = char < "\x80" ? 1 : char < "\u0800" ? 2 : char.length === 1 ? 3 : 4
        if (written + size > destination.length) break
        if (size === 1) destination[written] = char.charCodeAt(0)
        else destination.set(new Bytes(toUtf8(char)), written)
        read += char.length
        written += size
      }
      return { read, written }
    }
  }

  class TextDecoder {
    #fatal
    #ignoreBOM
    #tail = new Bytes(0)
    #started = false
    constructor(label = "utf-8", options = undefined) {
      if (label !== "utf-8") checkLabel(label)
      this.#fatal = Boolean(options?.fatal)
      this.#ignoreBOM = Boolean(options?.ignoreBOM)
    }
    get encoding() {
      return "utf-8"
    }
    get fatal() {
      return this.#fatal
    }
    get ignoreBOM() {
      return this.#ignoreBOM
    }
    decode(input = new Bytes(0), options = undefined) {
      let bytes = joined(this.#tail, bytesOf(input))
      const stream = Boolean(options?.stream)
      const end = bytes.length - (stream ? unfinished(bytes) : 0)
      this.#tail = bytes.slice(end)
      bytes = bytes.subarray(0, end)
      let text = fromUtf8(bufferOf(bytes))
      if (this.#fatal && text.includes("\ufffd") && !isEncodingOf(bytes, text)) {
        this.#tail = new Bytes(0)
        this.#started = false
        throw new TypeError("the data is not valid UTF-8")
      }
      if (text !== "" && !this.#started) {
        if (!this.#ignoreBOM && text[0] === "\ufeff") text = text.slice(1)
        this.#started = true
      }
      if (!stream) this.#started = false
      return text
    }
  }

  function checkLabel(label) {
    const name = `${label}`.replace(/^[\t\n\f\r ]+|[\t\n\f\r ]+$/g, "").toLowerCase()
    if (!labels.includes(name)) throw new RangeError(`${name}: only utf-8 is supported`)
  }

  function bytesOf(input) {
    if (isView(input)) return new Bytes(input.buffer, input.byteOffset, input.byteLength)
    if (input instanceof ArrayBuffer || input instanceof SharedArrayBuffer) return new Bytes(input)
    throw new TypeError("decode takes an ArrayBuffer or a view of one")
  }

  function joined(first, second) {
    if (first.length === 0) return second
    const both = new Bytes(first.length + second.length)
    both.set(first)
    both.set(second, first.length)
    return both
  }

  function bufferOf(bytes) {
    return bytes.length === bytes.buffer.byteLength ? bytes.buffer : bytes.slice().buffer
  }

  // A U+FFFD that stood in the data comes back as the same bytes, one that replaced something does not.
  function isEncodingOf(bytes, text) {
    const back = new Bytes(toUtf8(text))
    return back.length === bytes.length && back.every((byte, i) => byte === bytes[i])
  }

  // How many bytes at the end begin a character that later bytes may complete.
  function unfinished(bytes) {
    for (let back = 1; back <= 3 && back <= bytes.length; back++) {
      const lead = bytes[bytes.length - back]
      if ((lead & 0xc0) === 0x80) continue
      const size =
        lead >= 0xf0 && lead <= 0xf4 ? 4 : lead >= 0xe0 && lead < 0xf0 ? 3 : lead >= 0xc2 && lead < 0xe0 ? 2 : 1
      if (size <= back) return 0
      if (back === 1) return 1
      const next = bytes[bytes.length - back + 1]
      const low = lead === 0xe0 ? 0xa0 : lead === 0xf0 ? 0x90 : 0x80
      const high = lead === 0xed ? 0x9f : lead === 0xf4 ? 0x8f : 0xbf
      return next >= low && next <= high ? back : 0
    }
    return 0
  }
  return { TextEncoder, TextDecoder }
}
