import type { z } from "zod"
import { formatPath, type Problem } from "./config-error.ts"
import { nearest } from "./nearest.ts"
import { alternatives, childSchema, keysOf, kindOf, schemaAt } from "./schema-walk.ts"
import type { Path } from "./toml-positions.ts"

/** A key nobody knows: what was probably meant, or where it belongs, and what is allowed. */
export function unknownKey(schema: z.ZodType, path: Path, key: string): Problem {
  const section = schemaAt(schema, path)
  const allowed = keysOf(section) ?? []
  const meant = nearest(key, allowed) ?? synonyms(key).find((word) => allowed.includes(word))
  const fix = meant === undefined ? otherPlace(schema, path, key) : `did you mean ${meant}?`
  const list = allowed.length === 0 ? [] : [`allowed: ${allowed.join(", ")}`]
  const hidden = meant !== undefined && kindOf(childSchema(section, meant)) === "secret"
  return {
    path: [...path, key],
    what: "unknown key",
    fixes: fix === undefined ? list : [fix, ...list],
    at: "key",
    hidden,
  }
}

/** Words that other programs, and guesses, use for what has another name here. */
const SYNONYMS = new Map([
  ["port", ["listen"]],
  ["host", ["listen", "hosts"]],
  ["address", ["listen"]],
  ["main", ["entry"]],
  ["permissions", ["grant"]],
  ["tier", ["sandbox", "type"]],
  ["order", ["priority"]],
  ["memory", ["max_memory_mb"]],
  ["timeout", ["max_time_ms", "upstream_timeout", "request_timeout"]],
  ["root", ["static"]],
  ["static_dir", ["static"]],
  ["proxy", ["upstream"]],
  ["proxy_pass", ["upstream"]],
  ["jwt", ["auth"]],
  ["session", ["auth"]],
  ["limit", ["requests"]],
  ["max", ["requests"]],
])

function synonyms(key: string): readonly string[] {
  return SYNONYMS.get(key) ?? []
}

/** What only plugin.toml says of a plugin. */
const MANIFEST_KEYS = new Set(["name", "capabilities", "entry", "config_schema", "security", "api", "description"])

/** The key may be right and stand in the wrong table: one of those inside this one, or one of the top. */
function otherPlace(schema: z.ZodType, path: Path, key: string): string | undefined {
  const section = schemaAt(schema, path)
  const isPlugin = keysOf(section)?.includes("config") === true
  if (isPlugin && MANIFEST_KEYS.has(key)) return `${key} belongs in the plugin's plugin.toml`
  const place = placeIn(section, path, key, (word, keys) => nearest(word, keys)) ?? placeIn(schema, [], key, exact)
  return place ?? (isPlugin ? `the plugin's own settings go in [${formatPath([...path, "config"])}]` : undefined)
}

function placeIn(
  section: unknown,
  path: Path,
  key: string,
  find: (word: string, keys: readonly string[]) => string | undefined,
): string | undefined {
  for (const name of keysOf(section) ?? []) {
    const inner = childSchema(section, name)
    if (alternatives(inner).length > 1) continue
    const keys = keysOf(inner) ?? []
    const meant = find(key, keys) ?? synonyms(key).find((word) => keys.includes(word))
    if (meant !== undefined) return `${meant} belongs in [${formatPath([...path, name])}]`
  }
  return undefined
}

function exact(word: string, keys: readonly string[]): string | undefined {
  return keys.includes(word) ? word : undefined
}
