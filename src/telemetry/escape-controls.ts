/** C0 and C1 control characters, line separators and what reorders text on a terminal. */
const UNPRINTABLE = /[\p{Cc}\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu

/**
 * Rewrites one JSON line so that no string in it can move the cursor, start a line or hide text once a pretty printer
 * has decoded it. Line ends stay in `stack`, which is printed indented.
 */
export function escapeControls(line: string): string {
  const value: unknown = JSON.parse(line, (key, inner: unknown) => {
    if (typeof inner !== "string") return inner
    return inner.replace(UNPRINTABLE, (char) => (char === "\n" && key === "stack" ? char : toEscape(char)))
  })
  return `${JSON.stringify(value)}\n`
}

function toEscape(char: string): string {
  if (char === "\n") return "\\n"
  return `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`
}
