/**
 * The same function with at most `running` calls under way; further ones wait their turn, at most `waiting` of them.
 * @returns a function that rejects with an Error when too many wait already.
 */
export function limitConcurrency<A extends readonly unknown[], R>(
  work: (...args: A) => Promise<R>,
  limits: { readonly running: number; readonly waiting: number },
): (...args: A) => Promise<R> {
  const turns: (() => void)[] = []
  let running = 0
  return async (...args) => {
    if (running === limits.running) {
      if (turns.length === limits.waiting) throw new Error("too many are waiting")
      await new Promise<void>((resolve) => turns.push(resolve))
    } else {
      running++
    }
    try {
      return await work(...args)
    } finally {
      const next = turns.shift()
      if (next === undefined) running--
      else next()
    }
  }
}
