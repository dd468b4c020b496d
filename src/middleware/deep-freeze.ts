/** Freezes a JSON value to the bottom, however deep it is. */
export function deepFreeze<T extends object>(value: T): T {
  const pending: object[] = [value]
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    Object.freeze(next)
    for (const child of Object.values(next)) if (typeof child === "object" && child !== null) pending.push(child)
  }
  return value
}
