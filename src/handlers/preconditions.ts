import { parseHttpDate } from "../http/http-date.ts"
import type { HeaderList } from "../message/header-list.ts"

/** What identifies one state of a representation. */
export interface Validators {
  /** Entity tag with its quotes, `W/` in front when weak. */
  readonly etag: string
  /** Last-Modified: epoch milliseconds, whole seconds. */
  readonly modifiedMs: number
}

/**
 * Evaluates the preconditions of a GET or HEAD in their order of precedence.
 * @returns `"failed"`: 412; `"unchanged"`: 304; `"send"`: go on.
 * Source: RFC 9110 §13.2.2.
 */
export function evaluatePreconditions(headers: HeaderList, validators: Validators): "send" | "unchanged" | "failed" {
  const ifMatch = headers.get("if-match")
  if (ifMatch !== undefined) {
    if (!matches(ifMatch, validators.etag, "strong")) return "failed"
  } else {
    const since = dateOf(headers, "if-unmodified-since")
    if (since !== undefined && validators.modifiedMs > since) return "failed"
  }
  const ifNoneMatch = headers.get("if-none-match")
  if (ifNoneMatch !== undefined) return matches(ifNoneMatch, validators.etag, "weak") ? "unchanged" : "send"
  const since = dateOf(headers, "if-modified-since")
  return since !== undefined && validators.modifiedMs <= since ? "unchanged" : "send"
}

/**
 * Whether the ranges of a request may be served: its If-Range, if any, names exactly this state.
 * Source: RFC 9110 §13.1.5 (a date counts only when it is a strong validator: over a second old, which the entity tag
 * says as well).
 */
export function rangeStillApplies(headers: HeaderList, validators: Validators): boolean {
  const ifRange = headers.get("if-range")
  if (ifRange === undefined) return true
  const strong = !validators.etag.startsWith("W/")
  if (ifRange.startsWith('"') || ifRange.startsWith("W/")) return strong && ifRange === validators.etag
  return strong && parseHttpDate(ifRange) === validators.modifiedMs
}

/** Source: RFC 9110 §8.8.3.2. */
function matches(list: string, etag: string, comparison: "strong" | "weak"): boolean {
  if (list.trim() === "*") return true
  if (comparison === "strong" && etag.startsWith("W/")) return false
  const opaque = etag.replace(/^W\//, "")
  for (const [candidate, weak] of entityTags(list)) {
    if (candidate === opaque && (comparison === "weak" || !weak)) return true
  }
  return false
}

function* entityTags(list: string): Generator<[opaque: string, weak: boolean]> {
  // An entity tag may itself contain commas, so the list cannot simply be split.
  for (const match of list.matchAll(/(W\/)?("[\x21\x23-\x7e\x80-\xff]*")/g)) yield [match[2]!, match[1] !== undefined]
}

function dateOf(headers: HeaderList, name: string): number | undefined {
  const value = headers.get(name)
  return value === undefined ? undefined : parseHttpDate(value)
}
