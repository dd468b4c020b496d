import { PluginError } from "../errors.ts"
import { quote } from "./quote.ts"

const MASK = "***"

/** The secrets of one plugin: what it may read, and what its log must not show. */
export class Secrets {
  readonly #plugin: string
  readonly #values: ReadonlyMap<string, string>
  readonly #granted: ReadonlySet<string>
  /** Longest first: a secret may contain another. */
  readonly #masked: readonly string[]

  constructor(plugin: string, values: ReadonlyMap<string, string>, granted: readonly string[]) {
    this.#plugin = plugin
    this.#values = values
    this.#granted = new Set(granted)
    this.#masked = [...values.values()].filter((value) => value !== "").sort((a, b) => b.length - a.length)
  }

  /** @throws {PluginError} `E_PERMISSION`. */
  get(name: string): string {
    if (!this.#granted.has(name)) {
      throw new PluginError("E_PERMISSION", this.#plugin, `secret ${quote(name)} was not granted`)
    }
    const value = this.#values.get(name)
    if (value !== undefined) return value
    const line = `[plugins.${this.#plugin}.secrets] ${name} = "env:${name}"`
    throw new PluginError("E_PERMISSION", this.#plugin, `secret ${name} has no value; add ${line}`)
  }

  /** The text with every secret's value replaced. Finds values as they are, not encoded forms of them. */
  mask(text: string): string {
    let masked = text
    for (const value of this.#masked) masked = masked.replaceAll(value, MASK)
    return masked
  }
}
