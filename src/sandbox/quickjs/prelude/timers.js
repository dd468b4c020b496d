/* Timers */
;(need) => {
  const { apply, codes, op, TypeErrorCtor } = need("$kit")

  const timer =
    (repeat) =>
    (callback, delay, ...args) => {
      if (typeof callback !== "function") throw new TypeErrorCtor("expected a function")
      const run = () => {
        try {
          apply(callback, undefined, args)
        } catch (error) {
          need("$report")("a timer", error)
        }
      }
      return op(codes.timer, run, +delay || 0, repeat)
    }
  const clear = (id) => {
    if (typeof id === "number") op(codes.cancel, id)
  }
  return { setTimeout: timer(0), setInterval: timer(1), clearTimeout: clear, clearInterval: clear }
}
