// Source: WHATWG HTML §2.7. Nothing can be transferred.
;(need) => {
  const { getOwnPropertyDescriptor, getPrototypeOf, keys } = Object
  const { isView } = ArrayBuffer
  const wrappers = [Boolean, Number, String, BigInt]
  const uncloneable = [Promise, WeakMap, WeakSet, WeakRef, Symbol]
  const errors = [EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError]
  const typedArrayTag = getOwnPropertyDescriptor(getPrototypeOf(Uint8Array.prototype), Symbol.toStringTag).get
  const views = new Map()
  for (const name of Object.getOwnPropertyNames(globalThis)) {
    if (/^(Big)?(Ui|I)nt\d+(Clamped)?Array$|^Float\d+Array$/.test(name)) views.set(name, globalThis[name])
  }

  function structuredClone(value, options = undefined) {
    if (options?.transfer?.length > 0) throw refused("a transferred value")
    return clone(value, new Map())
  }

  function clone(value, seen) {
    if (typeof value === "function" || typeof value === "symbol") throw refused(typeof value)
    if (typeof value !== "object" || value === null) return value
    const known = seen.get(value)
    if (known !== undefined) return known
    for (const Type of uncloneable) if (value instanceof Type) throw refused(Type.name)
    const start = toEmpty(value, seen)
    seen.set(value, start.copy)
    start.fill?.()
    return start.copy
  }

  // The empty copy, and what fills it once it is known (a value may contain itself).
  function toEmpty(value, seen) {
    for (const Type of wrappers) if (value instanceof Type) return { copy: Object(value.valueOf()) }
    if (value instanceof Date) return { copy: new Date(value.getTime()) }
    if (value instanceof RegExp) return { copy: new RegExp(value.source, value.flags) }
    if (value instanceof ArrayBuffer) return { copy: value.slice(0) }
    if (isView(value)) return { copy: cloneView(value, seen) }
    if (value instanceof Map) {
      const copy = new Map()
      const entries = [...value]
      return {
        copy,
        fill() {
          for (const [key, item] of entries) copy.set(clone(key, seen), clone(item, seen))
        },
      }
    }
    if (value instanceof Set) {
      const copy = new Set()
      const items = [...value]
      return {
        copy,
        fill() {
          for (const item of items) copy.add(clone(item, seen))
        },
      }
    }
    if (value instanceof Error) return cloneError(value, seen)
    const copy = Array.isArray(value) ? new Array(value.length) : {}
    return {
      copy,
      fill() {
        for (const key of keys(value)) define(copy, key, clone(value[key], seen), true)
      },
    }
  }

  function cloneView(view, seen) {
    const buffer = clone(view.buffer, seen)
    const Type = views.get(typedArrayTag.call(view))
    if (Type === undefined) return new DataView(buffer, view.byteOffset, view.byteLength)
    return new Type(buffer, view.byteOffset, view.length)
  }

  function cloneError(error, seen) {
    const Type = errors.find((known) => known.name === error.name) ?? Error
    const copy = new Type()
    return {
      copy,
      fill() {
        for (const key of ["message", "stack", "cause"]) {
          const own = getOwnPropertyDescriptor(error, key)
          if (own === undefined || !("value" in own)) continue
          define(copy, key, key === "cause" ? clone(own.value, seen) : `${own.value}`, false)
        }
      },
    }
  }

  // Not by assignment: "__proto__" is an ordinary key here.
  function define(object, key, value, enumerable) {
    Object.defineProperty(object, key, { value, enumerable, writable: true, configurable: true })
  }

  function refused(what) {
    return new (need("DOMException"))(`${what} cannot be cloned`, "DataCloneError")
  }
  return { structuredClone }
}
