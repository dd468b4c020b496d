/** Levels of lists and objects in what is known of a user. */
export const MAX_CLAIM_LEVELS = 100

/**
 * Whether claims have more levels than that. Who wrote them may be anybody, and whoever reads them does so recursively: to
 * write them as JSON, to send them to another thread.
 */
export function nestsTooDeep(claims: object): boolean {
  let level = [claims]
  for (let depth = 0; level.length > 0; depth++) {
    if (depth === MAX_CLAIM_LEVELS) return true
    const next: object[] = []
    for (const node of level) {
      for (const value of Object.values(node)) if (typeof value === "object" && value !== null) next.push(value)
    }
    level = next
  }
  return false
}
