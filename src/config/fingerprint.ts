import { createHash } from "node:crypto"
import { Secret } from "./secret.ts"

/**
 * A digest of configuration: equal values have equal digests, whatever the order of their keys. Secrets count by their
 * value, of which the digest shows nothing.
 * @throws {TypeError} for what is no data, such as a function.
 */
export function fingerprint(value: unknown): string {
  return createHash("sha256").update(canonical(value)).digest("base64url")
}

function canonical(value: unknown): string {
  if (value instanceof Secret) return `secret ${JSON.stringify(value.reveal())}`
  if (typeof value === "function" || typeof value === "symbol") throw new TypeError(`a ${typeof value} is no data`)
  if (Array.isArray(value)) return `[${value.map(canonical).join()}]`
  if (typeof value !== "object" || value === null) return JSON.stringify(value) ?? "undefined"
  const entries = Object.entries(value).filter(([, inner]) => inner !== undefined)
  return `{${entries
    .map(([key, inner]) => `${JSON.stringify(key)}:${canonical(inner)}`)
    .sort()
    .join()}}`
}
