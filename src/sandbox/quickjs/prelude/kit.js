/*
 * First part of the prelude: what the other parts share. Guest code runs later and may overwrite every global and every
 * prototype, so whatever the prelude relies on afterwards is taken here, once.
 * `op(code, …)` is the only door to the host. It is never reachable by guest code.
 */
;(op, codes) => {
  const { apply, defineProperty, getOwnPropertyDescriptor, getPrototypeOf, ownKeys } = Reflect
  const { freeze, values } = Object
  const { parse, stringify } = JSON
  const isArray = Array.isArray
  const TypeErrorCtor = TypeError
  const ErrorCtor = Error
  const PromiseCtor = Promise
  const Uint8ArrayCtor = Uint8Array
  const StringOf = String

  /** Turns a method into a function whose first argument is `this`. */
  const uncurry = Function.prototype.bind.bind(Function.prototype.call)
  const getterOf = (prototype, key) => uncurry(getOwnPropertyDescriptor(prototype, key).get)

  const typedArray = getPrototypeOf(Uint8Array.prototype)
  const typeOfArray = getterOf(typedArray, Symbol.toStringTag)
  const bufferOf = getterOf(typedArray, "buffer")
  const offsetOf = getterOf(typedArray, "byteOffset")
  const lengthOf = getterOf(typedArray, "byteLength")
  const bufferLength = getterOf(ArrayBuffer.prototype, "byteLength")
  const sliceBuffer = uncurry(ArrayBuffer.prototype.slice)
  const sliceText = uncurry(String.prototype.slice)
  const iteratorSymbol = Symbol.iterator

  const errorCodes = new WeakMap()
  const rememberError = uncurry(WeakMap.prototype.set)
  const recallError = uncurry(WeakMap.prototype.get)

  const text = (value) => (typeof value === "string" ? value : StringOf(value))

  /** Adds to the end of a list without looking at Array.prototype, where a guest may have put setters. */
  const append = (list, value) => {
    defineProperty(list, list.length, { __proto__: null, value, writable: true, enumerable: true, configurable: true })
  }

  const isBuffer = (value) => {
    try {
      bufferLength(value)
      return true
    } catch {
      return false
    }
  }

  /** @returns the text, or an ArrayBuffer with exactly the bytes of the view or buffer. */
  const payload = (value, what) => {
    if (typeof value === "string") return value
    if (typeof value === "object" && value !== null) {
      if (typeOfArray(value) !== undefined) {
        const buffer = bufferOf(value)
        const from = offsetOf(value)
        const size = lengthOf(value)
        return from === 0 && size === bufferLength(buffer) ? buffer : sliceBuffer(buffer, from, from + size)
      }
      if (isBuffer(value)) return value
    }
    throw new TypeErrorCtor(`${what}: expected a string or a Uint8Array`)
  }

  const pair = (entry) => {
    if (typeof entry !== "object" || entry === null || entry.length !== 2) {
      throw new TypeErrorCtor("headers: expected [name, value] pairs, an object or Headers")
    }
    const copy = []
    append(copy, text(entry[0]))
    append(copy, text(entry[1]))
    return copy
  }

  /** @returns header fields as JSON text, "" for none. */
  const headersText = (input) => {
    if (input === undefined || input === null) return ""
    if (typeof input !== "object")
      throw new TypeErrorCtor("headers: expected [name, value] pairs, an object or Headers")
    const pairs = []
    if (typeof input[iteratorSymbol] === "function") for (const entry of input) append(pairs, pair(entry))
    else {
      const names = ownKeys(input)
      for (let i = 0; i < names.length; i++) {
        if (typeof names[i] === "string") append(pairs, pair([names[i], input[names[i]]]))
      }
    }
    return stringify(pairs)
  }

  const deepFreeze = (value) => {
    if (typeof value !== "object" || value === null) return value
    const children = values(value)
    for (let i = 0; i < children.length; i++) deepFreeze(children[i])
    return freeze(value)
  }

  /** Makes the error by which the host refuses something. `serial` lets the host recognise it when it comes back. */
  const hostError = (code, message, serial) => {
    const error = code === "TypeError" ? new TypeErrorCtor(message) : new ErrorCtor(message)
    if (code !== "TypeError") {
      defineProperty(error, "code", {
        __proto__: null,
        value: code,
        writable: true,
        enumerable: true,
        configurable: true,
      })
    }
    rememberError(errorCodes, error, serial)
    return error
  }

  const define = (target, name, value, enumerable) => {
    defineProperty(target, name, { __proto__: null, value, writable: true, enumerable, configurable: true })
  }

  return {
    __proto__: null,
    op,
    codes,
    apply,
    append,
    deepFreeze,
    define,
    defineProperty,
    getPrototypeOf,
    headersText,
    hostError,
    isArray,
    parse,
    payload,
    PromiseCtor,
    serialOf: (error) => (typeof error === "object" && error !== null ? recallError(errorCodes, error) : undefined),
    sliceText,
    stringify,
    text,
    toBytes: (buffer) => new Uint8ArrayCtor(buffer),
    TypeErrorCtor,
    typeOfArray,
    bufferOf,
    offsetOf,
    lengthOf,
  }
}
