/* console, and how values and errors are shown in logs */
;(need) => {
  const { codes, define, getOwnPropertyDescriptor, getPrototypeOf, join, keys, op, sliceText, stringify, text } =
    need("$kit")
  const { isArray } = Array
  const StringOf = String
  const ErrorPrototype = Error.prototype
  const DEPTH = 4
  const ITEMS = 50

  /** Shows a value on one line. Getters are not called. */
  function inspect(value, depth) {
    if (typeof value === "string") return depth === 0 ? value : stringify(value)
    if (typeof value === "bigint") return join(StringOf(value), "n")
    if (typeof value === "function") return "[function]"
    if (typeof value === "symbol") return StringOf(value)
    if (typeof value !== "object" || value === null) return text(value)
    if (isError(value)) return describe(value)
    const list = isArray(value)
    if (depth === DEPTH) return list ? "[…]" : "{…}"
    const names = keys(value)
    let shown = ""
    for (let i = 0; i < names.length; i++) {
      if (i > 0) shown += ", "
      if (i === ITEMS) {
        shown += "…"
        break
      }
      const own = getOwnPropertyDescriptor(value, names[i])
      const item = own !== undefined && "value" in own ? inspect(own.value, depth + 1) : "[getter]"
      shown += list ? item : join(names[i], ": ", item)
    }
    return list ? join("[", shown, "]") : join("{", shown, "}")
  }

  function isError(value) {
    let at = value
    for (let i = 0; typeof at === "object" && at !== null && i < 20; i++) {
      if (at === ErrorPrototype) return true
      at = getPrototypeOf(at)
    }
    return false
  }

  function headline(error) {
    const name = text(error.name)
    const message = text(error.message)
    return join(name, message === "" ? "" : ": ", message)
  }

  function describe(error) {
    const { stack } = error
    return stack ? join(headline(error), "\n", text(stack)) : headline(error)
  }

  function report(where, error) {
    let shown = "an error that cannot be shown"
    try {
      shown = inspect(error, 1)
    } catch {}
    op(codes.log, 3, join("uncaught in ", where, ": ", sliceText(shown, 0, 8000)))
  }

  const console = {}
  const method = (name, level) => {
    const log = (...parts) => {
      let line = ""
      for (let i = 0; i < parts.length; i++) line += (i > 0 ? " " : "") + inspect(parts[i], 0)
      op(codes.log, level, sliceText(line, 0, 8192))
    }
    define(console, name, log, true)
  }
  method("debug", 0)
  method("trace", 0)
  method("log", 1)
  method("info", 1)
  method("warn", 2)
  method("error", 3)

  return { console, $inspect: inspect, $report: report }
}
