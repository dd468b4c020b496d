import { readFileSync } from "node:fs"

/** A script that makes some of the web globals QuickJS lacks. */
export interface GuestFile {
  /** Names of what it makes. Those that begin with "$" are for the prelude and other files, never on `globalThis`. */
  readonly provides: readonly string[]
  /**
   * An expression: a function of `need(name)`, which gives another global or a service of the prelude when asked, that
   * returns an object with everything in `provides`. Evaluated when one of them is first touched.
   * Services: `$utf8Encode(string): ArrayBuffer`, `$utf8Decode(ArrayBuffer): string`, `$reportError(error): void`.
   */
  readonly source: string
}

export const GUEST_FILES: readonly GuestFile[] = [
  read("url.js", ["URL"]),
  read("search-params.js", ["URLSearchParams", "$linkedParams", "$setParams"]),
  read("encoding.js", ["TextEncoder", "TextDecoder"]),
  read("headers.js", ["Headers", "$headerPairs"]),
  read("response.js", ["Response", "$responseParts", "$makeResponse"]),
  read("base64.js", ["atob", "btoa"]),
  read("structured-clone.js", ["structuredClone"]),
  read("abort.js", ["AbortController", "AbortSignal", "$onAbort"]),
  read("dom-exception.js", ["DOMException"]),
  read("microtask.js", ["queueMicrotask"]),
]

/** Without comments and indentation: QuickJS keeps the source of every function in the guest's memory. */
function read(name: string, provides: readonly string[]): GuestFile {
  const text = readFileSync(new URL(name, import.meta.url), "utf8")
  return { provides, source: text.replace(/^\s*(?:\/\/.*)?\n|^[ \t]+/gm, "").replace(/^;/, "") }
}
