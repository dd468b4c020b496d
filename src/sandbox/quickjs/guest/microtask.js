// Source: WHATWG HTML §8.7.
;(need) => {
  const resolved = Promise.resolve()
  const then = Promise.prototype.then

  function queueMicrotask(callback) {
    if (typeof callback !== "function") throw new TypeError("queueMicrotask takes a function")
    then.call(resolved, () => {
      try {
        callback()
      } catch (error) {
        need("$reportError")(error)
      }
    })
  }
  return { queueMicrotask }
}
