/** What a TOML document of ours may hold: JSON without null. */
export type TomlValue = string | number | boolean | readonly TomlValue[] | { readonly [key: string]: TomlValue }

/** A value on one line. JSON spells numbers, booleans and texts as TOML does, except for DEL and a number too large for an integer. */
export function toTomlValue(value: TomlValue): string {
  if (typeof value === "string") return JSON.stringify(value).replaceAll("\u007f", "\\u007f")
  if (typeof value === "number") return String(Number.isSafeInteger(value) ? BigInt(value) : toFloat(value))
  if (typeof value === "boolean") return String(value)
  if (Array.isArray(value)) return `[${value.map(toTomlValue).join(", ")}]`
  const fields = Object.entries(value).map(([key, inner]) => `${toTomlKey(key)} = ${toTomlValue(inner)}`)
  return fields.length === 0 ? "{}" : `{ ${fields.join(", ")} }`
}

/** A key, with quotes only where TOML needs them. */
export function toTomlKey(key: string): string {
  return /^[A-Za-z0-9_-]+$/.test(key) ? key : toTomlValue(key)
}

/** A float needs a fraction or an exponent. Source: TOML 1.0, "Float". */
function toFloat(value: number): string {
  const text = String(value)
  return /[.e]/.test(text) ? text : `${text}.0`
}
