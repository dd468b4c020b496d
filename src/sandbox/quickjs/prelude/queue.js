/* bext.queue */
;(need) => {
  const { codes, freeze, op, PromiseCtor, stringify, text, TypeErrorCtor } = need("$kit")

  function start(queue, value, options, resolve, reject) {
    const shown = stringify(value)
    if (shown === undefined) throw new TypeErrorCtor("bext.queue.push: expected a JSON value")
    const { delayMs = 0, key } = options ?? {}
    const keyText = key === undefined || key === null ? undefined : text(key)
    op(codes.queuePush, resolve, reject, text(queue), shown, keyText, +delayMs)
  }

  const queue = {
    push: (name, value, options) => new PromiseCtor((resolve, reject) => start(name, value, options, resolve, reject)),
  }
  return { $queue: freeze(queue) }
}
