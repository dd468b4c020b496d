/*
 * First part of the prelude: what the other parts share. Guest code runs later and may overwrite every global and every
 * prototype, so whatever the prelude relies on afterwards is taken here, once.
 * `op(code, …)` is the only door to the host. It is never reachable by guest code.
 * The base is copied for every reset, so it holds what every request needs; the rest is in the library files beside it.
 */
;(op, codes, libraryNames) => {
  const { apply, defineProperty, getOwnPropertyDescriptor, getPrototypeOf, ownKeys } = Reflect
  const { freeze, hasOwn, keys, values } = Object
  const { parse, stringify } = JSON
  const { eval: indirectEval } = globalThis
  const ErrorCtor = Error
  const StringOf = String
  const TypeErrorCtor = TypeError

  /** Turns a method into a function whose first argument is `this`. */
  const uncurry = Function.prototype.bind.bind(Function.prototype.call)
  const rememberError = uncurry(WeakMap.prototype.set)
  const recallError = uncurry(WeakMap.prototype.get)
  const errorSerials = new WeakMap()

  function text(value) {
    if (typeof value === "string") return value
    if (typeof value === "symbol") throw new TypeErrorCtor("expected a string")
    return StringOf(value)
  }

  /** One text of several. Template literals would do, but the engine makes them with String.prototype.concat. */
  function join(...parts) {
    let all = ""
    for (let i = 0; i < parts.length; i++) all += parts[i]
    return all
  }

  const define = (target, name, value, enumerable) => {
    defineProperty(target, name, { __proto__: null, value, writable: true, enumerable, configurable: true })
  }

  /** Library values by name, filled when a file is evaluated. */
  const library = { __proto__: null }

  /** @returns a value of the library, evaluating its file first when nobody has. */
  function need(name) {
    if (!hasOwn(library, name)) {
      const made = indirectEval(op(codes.library, name))(need)
      const names = keys(made)
      for (let i = 0; i < names.length; i++) library[names[i]] = made[names[i]]
    }
    return library[name]
  }

  /** Makes the names appear on globalThis; the first read of one evaluates its file. */
  for (let i = 0; i < libraryNames.length; i++) {
    const name = libraryNames[i]
    defineProperty(globalThis, name, {
      __proto__: null,
      configurable: true,
      enumerable: false,
      get() {
        const value = need(name)
        define(globalThis, name, value, false)
        return value
      },
      set(value) {
        define(globalThis, name, value, false)
      },
    })
  }

  library.$utf8Encode = (value) => op(codes.utf8Encode, value)
  library.$utf8Decode = (buffer) => op(codes.utf8Decode, buffer)
  library.$reportError = (error) => need("$report")("queueMicrotask", error)

  library.$kit = {
    __proto__: null,
    apply,
    /** Adds to the end of a list without looking at Array.prototype, where a guest may have put setters. */
    append: (list, value) => define(list, list.length, value, true),
    codes,
    define,
    freeze,
    getOwnPropertyDescriptor,
    getPrototypeOf,
    /** Makes the error by which the host refuses something. `serial` lets the host recognise it when it comes back. */
    hostError(code, message, serial) {
      const isMistake = code === "TypeError"
      const error = new (isMistake ? TypeErrorCtor : ErrorCtor)(message)
      if (!isMistake) define(error, "code", code, true)
      rememberError(errorSerials, error, serial)
      return error
    },
    iterator: Symbol.iterator,
    join,
    keys,
    loaded: (name) => library[name],
    need,
    op,
    ownKeys,
    parse,
    PromiseCtor: Promise,
    serialOf: (error) => (typeof error === "object" && error !== null ? recallError(errorSerials, error) : undefined),
    sliceText: uncurry(String.prototype.slice),
    stringify,
    text,
    TypeErrorCtor,
    uncurry,
    values,
  }
  return library.$kit
}
