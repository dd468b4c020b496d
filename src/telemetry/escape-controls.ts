/** C0 and C1 control characters, line separators and what reorders text on a terminal. */
const UNPRINTABLE = /[\p{Cc}\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu

/**
 * Rewrites one JSON line so that no name and no string in it can move the cursor, start a line or hide text once a
 * pretty printer has decoded it. Line ends stay in `stack`, which is printed indented.
 */
export function escapeControls(line: string): string {
  return `${JSON.stringify(escapeValue(JSON.parse(line), false))}\n`
}

function escapeValue(value: unknown, keepLines: boolean): unknown {
  if (typeof value === "string") return escapeText(value, keepLines)
  if (Array.isArray(value)) return value.map((item) => escapeValue(item, false))
  if (typeof value !== "object" || value === null) return value
  const entries = Object.entries(value)
  return Object.fromEntries(entries.map(([key, item]) => [escapeText(key, false), escapeValue(item, key === "stack")]))
}

function escapeText(text: string, keepLines: boolean): string {
  return text.replace(UNPRINTABLE, (char) => {
    if (char === "\n") return keepLines ? char : "\\n"
    return `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`
  })
}

/** What JSON leaves as it is, and a terminal may obey: DEL, C1 control characters, what reorders text. */
const RAW_IN_JSON = /[\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g

/** The same JSON, with nothing in its texts that a terminal obeys when somebody just looks at it. */
export function escapeJson(json: string): string {
  return json.replace(RAW_IN_JSON, (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, "0")}`)
}
