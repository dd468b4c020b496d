/* Globals that JavaScript authors expect of a server: console, timers, crypto, and the library files, loaded when used. */
;(kit) => {
  const { apply, append, codes, define, defineProperty, op, sliceText, text, TypeErrorCtor } = kit
  const { bufferOf, offsetOf, lengthOf, typeOfArray, getPrototypeOf, isArray } = kit
  const { keys, hasOwn } = Object
  const Uint8ArrayCtor = Uint8Array
  const setBytes = Function.prototype.call.bind(Uint8Array.prototype.set)
  const { eval: indirectEval } = globalThis
  const ErrorPrototype = Error.prototype

  // The library: name → value, filled when a file is evaluated. `null` marks a file that is being evaluated.
  const library = { __proto__: null }

  /** @returns the value of a library global, evaluating its file first when nobody has. */
  function need(name) {
    if (!hasOwn(library, name)) {
      const values = indirectEval(op(codes.library, name))(need)
      for (const key of keys(values)) library[key] = values[key]
    }
    return library[name]
  }
  kit.need = need
  kit.loaded = (name) => library[name]
  library.$utf8Encode = (value) => op(codes.utf8Encode, value)
  library.$utf8Decode = (buffer) => op(codes.utf8Decode, buffer)
  library.$reportError = (error) => kit.report("queueMicrotask", error)

  /** Makes the names appear on globalThis; the first read of one evaluates its file. */
  kit.declare = (names) => {
    for (let i = 0; i < names.length; i++) {
      const name = names[i]
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
  }

  const DEPTH = 4
  const ITEMS = 50
  /** Shows a value on one line, for logs. Getters are not called. */
  function inspect(value, depth) {
    if (typeof value === "string") return depth === 0 ? value : kit.stringify(value)
    if (typeof value === "bigint") return `${value}n`
    if (typeof value === "function") return "[function]"
    if (typeof value !== "object" || value === null) return text(value)
    if (isError(value)) return describe(value)
    if (depth === DEPTH) return isArray(value) ? "[…]" : "{…}"
    const list = isArray(value)
    const names = keys(value)
    let shown = ""
    for (let i = 0; i < names.length; i++) {
      if (i > 0) shown += ", "
      if (i === ITEMS) {
        shown += "…"
        break
      }
      const own = Reflect_getOwn(value, names[i])
      const item = own !== undefined && "value" in own ? inspect(own.value, depth + 1) : "[getter]"
      shown += list ? item : `${names[i]}: ${item}`
    }
    return list ? `[${shown}]` : `{${shown}}`
  }
  const Reflect_getOwn = Reflect.getOwnPropertyDescriptor

  function isError(value) {
    for (let at = value, i = 0; at !== null && i < 20; at = getPrototypeOf(at), i++)
      if (at === ErrorPrototype) return true
    return false
  }

  function describe(error) {
    return `${headline(error)}${error.stack ? `\n${text(error.stack)}` : ""}`
  }

  function headline(error) {
    const name = text(error.name)
    const message = text(error.message)
    return message === "" ? name : `${name}: ${message}`
  }

  kit.inspect = (value) => inspect(value, 1)
  kit.isError = isError
  kit.headline = headline
  kit.report = (where, error) => {
    let shown = "an error that cannot be shown"
    try {
      shown = isError(error) ? describe(error) : inspect(error, 1)
    } catch {}
    op(codes.log, 3, `uncaught in ${where}: ${sliceText(shown, 0, 8000)}`)
  }

  const console = {}
  const levels = { debug: 0, log: 1, info: 1, warn: 2, error: 3, trace: 0 }
  for (const name of Object.keys(levels)) {
    const level = levels[name]
    define(
      console,
      name,
      (...parts) => {
        let line = ""
        for (let i = 0; i < parts.length; i++) line += (i > 0 ? " " : "") + inspect(parts[i], 0)
        op(codes.log, level, sliceText(line, 0, 8192))
      },
      true,
    )
  }
  define(globalThis, "console", console, false)

  const timer =
    (repeat) =>
    (callback, delay, ...args) => {
      if (typeof callback !== "function") throw new TypeErrorCtor("expected a function")
      const run = () => {
        try {
          apply(callback, undefined, args)
        } catch (error) {
          kit.report("a timer", error)
        }
      }
      return op(codes.timer, run, +delay || 0, repeat)
    }
  const clear = (id) => {
    if (typeof id === "number") op(codes.cancel, id)
  }
  define(globalThis, "setTimeout", timer(0), false)
  define(globalThis, "setInterval", timer(1), false)
  define(globalThis, "clearTimeout", clear, false)
  define(globalThis, "clearInterval", clear, false)

  define(
    globalThis,
    "crypto",
    {
      getRandomValues(array) {
        if (typeOfArray(array) === undefined) throw new TypeErrorCtor("getRandomValues: expected a typed array")
        const size = lengthOf(array)
        setBytes(new Uint8ArrayCtor(bufferOf(array), offsetOf(array), size), new Uint8ArrayCtor(op(codes.random, size)))
        return array
      },
      randomUUID: () => op(codes.randomUUID),
    },
    false,
  )
  define(globalThis, "performance", { now: () => op(codes.now) }, false)
  kit.append = append
}
