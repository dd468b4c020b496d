/** Longest pattern `compileGlob` takes, in UTF-16 units. */
const MAX_PATTERN = 1024

const STAR = -1
const GLOBSTAR = -2
const SEGMENTS = -3
const INSIDE = -4
const TAIL = -5

/**
 * Compiles a glob into a matcher for whole texts. Used for paths, cookie names, hosts and queue names alike.
 *
 * - `*` is any run of characters, also an empty one, that does not contain the separator.
 * - `**` is any run of characters. As a whole segment it stands for zero or more segments, so that a rule for a folder
 *   covers the folder itself: `/api/**` matches `/api`, `/api/` and `/api/a/b`.
 * - Everything else is literal and case-sensitive; a leading dot is nothing special. There is no escape.
 *
 * Matching takes time proportional to pattern × text whatever the pattern: it walks all alternatives at once and never
 * goes back.
 * @throws {RangeError} When the pattern is longer than 1024 characters.
 */
export function compileGlob(pattern: string, options: { separator?: "/" | "." } = {}): (text: string) => boolean {
  if (pattern.length > MAX_PATTERN) throw new RangeError(`glob is longer than ${MAX_PATTERN} characters`)
  const separator = options.separator ?? "/"
  if (!pattern.includes("*")) return (text) => text === pattern
  const glob = pattern.replace(/\*{3,}/g, "**")
  const folder = glob.slice(0, -3)
  if (glob === `${folder}${separator}**` && !folder.includes("*")) return inFolder(folder, separator)
  return simulate(tokenise(glob, separator), separator.charCodeAt(0))
}

/** The common case, `/literal/**`, without the machine. */
function inFolder(folder: string, separator: string): (text: string) => boolean {
  const prefix = folder + separator
  return (text) => text === folder || text.startsWith(prefix)
}

function tokenise(pattern: string, separator: string): Int32Array {
  const tokens: number[] = []
  let at = 0
  while (at < pattern.length) {
    if (pattern[at] !== "*") {
      if (pattern.slice(at) === `${separator}**`) {
        tokens.push(TAIL, GLOBSTAR)
        break
      }
      tokens.push(pattern.charCodeAt(at++))
      continue
    }
    let end = at
    while (pattern[end] === "*") end++
    const wholeSegment = end - at >= 2 && (at === 0 || pattern[at - 1] === separator) && pattern[end] === separator
    if (wholeSegment) {
      tokens.push(SEGMENTS, INSIDE)
      end++
    } else {
      tokens.push(end - at === 1 ? STAR : GLOBSTAR)
    }
    at = end
  }
  return Int32Array.from(tokens)
}

/** Thompson's simulation: the set of token positions that the text read so far can be in. */
function simulate(tokens: Int32Array, separator: number): (text: string) => boolean {
  const last = tokens.length
  const sets = [new Uint8Array(last + 1), new Uint8Array(last + 1)] as const
  return (text) => {
    let [now, next] = sets
    now.fill(0)
    enter(tokens, now, 0)
    for (let i = 0; i < text.length; i++) {
      const unit = text.charCodeAt(i)
      next.fill(0)
      let alive = false
      for (let at = 0; at < last; at++) {
        if (now[at] === 0) continue
        alive = step(tokens, next, at, unit, separator) || alive
      }
      if (!alive) return false
      const read = now
      now = next
      next = read
    }
    return now[last] === 1
  }
}

/** Adds what `unit` leads to from the token at `at`. @returns whether there was anything. */
function step(tokens: Int32Array, next: Uint8Array, at: number, unit: number, separator: number): boolean {
  switch (tokens[at]) {
    case STAR:
      if (unit === separator) return false
      enter(tokens, next, at)
      return true
    case GLOBSTAR:
      enter(tokens, next, at)
      return true
    case SEGMENTS:
      return false
    case INSIDE:
      next[at] = 1
      if (unit === separator) enter(tokens, next, at + 1)
      return true
    case TAIL:
      if (unit !== separator) return false
      enter(tokens, next, at + 1)
      return true
    default:
      if (unit !== tokens[at]) return false
      enter(tokens, next, at + 1)
      return true
  }
}

/** Adds the token at `at` and everything reachable from it without reading. */
function enter(tokens: Int32Array, set: Uint8Array, at: number): void {
  for (let i = at; set[i] === 0; i++) {
    set[i] = 1
    const token = tokens[i]
    if (token === SEGMENTS) {
      set[i + 1] = 1
      i++
    } else if (token === TAIL) {
      set[tokens.length] = 1
      return
    } else if (token !== STAR && token !== GLOBSTAR) {
      return
    }
  }
}
