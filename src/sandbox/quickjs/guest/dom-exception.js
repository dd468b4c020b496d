// Source: WHATWG Web IDL §2.8.1.
;() => {
  const codes = {
    InvalidCharacterError: 5,
    NotSupportedError: 9,
    InvalidStateError: 11,
    SyntaxError: 12,
    TypeMismatchError: 17,
    AbortError: 20,
    QuotaExceededError: 22,
    TimeoutError: 23,
    DataCloneError: 25,
  }
  const own = Object.hasOwn

  class DOMException extends Error {
    #name
    constructor(message = "", name = "Error") {
      super(`${message}`)
      this.#name = typeof name === "string" ? name : `${name?.name ?? "Error"}`
    }
    get name() {
      return this.#name
    }
    get code() {
      return own(codes, this.#name) ? codes[this.#name] : 0
    }
  }
  return { DOMException }
}
