// Source: WHATWG DOM §3. There is no EventTarget: listeners get { type, target } and nothing bubbles.
;(need) => {
  const internal = {}
  let abort
  let onAbort

  class AbortSignal {
    #aborted = false
    #reason = undefined
    #listeners = []
    onabort = null

    static {
      abort = (signal, reason) => signal.#abort(reason)
      onAbort = (signal, callback) => signal.#listeners.push({ callback, once: true })
    }

    constructor(key) {
      if (key !== internal) throw new TypeError("Illegal constructor: use AbortController")
    }

    static abort(reason) {
      const signal = new AbortSignal(internal)
      signal.#abort(reason)
      return signal
    }

    static timeout(ms) {
      const signal = new AbortSignal(internal)
      const reason = () => new (need("DOMException"))("the operation timed out", "TimeoutError")
      globalThis.setTimeout(() => signal.#abort(reason()), ms)
      return signal
    }

    static any(signals) {
      const signal = new AbortSignal(internal)
      const sources = [...signals]
      const aborted = sources.find((source) => source.#aborted)
      if (aborted !== undefined) signal.#abort(aborted.#reason)
      else for (const source of sources) onAbort(source, () => signal.#abort(source.#reason))
      return signal
    }

    get aborted() {
      return this.#aborted
    }
    get reason() {
      return this.#reason
    }
    throwIfAborted() {
      if (this.#aborted) throw this.#reason
    }

    addEventListener(type, callback, options = undefined) {
      if (type !== "abort" || callback === null || callback === undefined) return
      if (this.#listeners.some((listener) => listener.callback === callback)) return
      this.#listeners.push({ callback, once: Boolean(options?.once) })
    }
    removeEventListener(type, callback) {
      if (type !== "abort") return
      this.#listeners = this.#listeners.filter((listener) => listener.callback !== callback)
    }

    #abort(reason) {
      if (this.#aborted) return
      this.#aborted = true
      this.#reason = reason ?? new (need("DOMException"))("the operation was aborted", "AbortError")
      const event = { type: "abort", target: this, currentTarget: this }
      const called = this.#listeners
      this.#listeners = called.filter((listener) => !listener.once)
      if (typeof this.onabort === "function") this.#call(this.onabort, event)
      for (const { callback } of called) this.#call(callback, event)
    }

    #call(callback, event) {
      try {
        if (typeof callback === "function") callback.call(this, event)
        else callback.handleEvent(event)
      } catch (error) {
        need("$reportError")(error)
      }
    }
  }

  class AbortController {
    #signal = new AbortSignal(internal)
    get signal() {
      return this.#signal
    }
    abort(reason) {
      abort(this.#signal, reason)
    }
  }
  // `$onAbort(signal, callback)` throws a TypeError when `signal` is not a signal; it does not call back when it is aborted already.
  return { AbortController, AbortSignal, $onAbort: onAbort }
}
