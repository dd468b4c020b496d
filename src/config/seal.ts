import { resolve } from "node:path"
import type { Problem } from "./config-error.ts"
import { childSchema, kindOf } from "./schema-walk.ts"
import { Secret } from "./secret.ts"
import type { Path } from "./toml-positions.ts"

const UNIX = "unix:"

export type Env = Readonly<Record<string, string | undefined>>

/**
 * Finishes a value that passed its schema: file paths become absolute (relative ones count from `folder`), everything is
 * frozen to the bottom.
 */
export function seal<T>(schema: unknown, value: T, folder: string): T {
  return sealed(schema, value, folder) as T
}

function sealed(schema: unknown, value: unknown, folder: string): unknown {
  if (typeof value === "string") return sealedText(kindOf(schema), value, folder)
  if (typeof value !== "object" || value === null || value instanceof Secret) return value
  const entries: Record<string | number, unknown> = value as Record<string, unknown>
  for (const key of Object.keys(value)) {
    entries[key] = sealed(childSchema(schema, Array.isArray(value) ? Number(key) : key), entries[key], folder)
  }
  return Object.freeze(value)
}

function sealedText(kind: ReturnType<typeof kindOf>, text: string, folder: string): string {
  if (kind === "path") return resolve(folder, text)
  if (kind === "socket" && text.startsWith(UNIX)) return UNIX + resolve(folder, text.slice(UNIX.length))
  return text
}

/** Reads every secret of `value` from the environment. @returns the fields whose variable is missing. */
export function resolveSecrets(value: unknown, env: Env, path: Path = []): Problem[] {
  if (value instanceof Secret) {
    if (value.resolve(env)) return []
    const what = `the environment variable ${value.variable} is ${env[value.variable] === "" ? "empty" : "not set"}`
    return [{ path, what, fixes: [`start bext with ${value.variable}=… in its environment`] }]
  }
  if (typeof value !== "object" || value === null) return []
  return Object.entries(value).flatMap(([key, inner]) =>
    resolveSecrets(inner, env, [...path, Array.isArray(value) ? Number(key) : key]),
  )
}
