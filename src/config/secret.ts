import { inspect } from "node:util"

/**
 * A secret that the configuration names as "env:NAME". Printing it in any way shows that name; only `reveal` gives the
 * value, which was read from the environment when the configuration was loaded.
 */
export class Secret {
  /** Name of the environment variable. */
  readonly variable: string
  #value: string | undefined

  /** @param reference - "env:NAME" */
  constructor(reference: string) {
    this.variable = reference.slice("env:".length)
  }

  /** Reads the value. @returns whether there is one; an empty variable counts as missing. */
  resolve(env: Readonly<Record<string, string | undefined>>): boolean {
    this.#value = env[this.variable] || undefined
    return this.#value !== undefined
  }

  /** @throws {TypeError} when it was never resolved. */
  reveal(): string {
    if (this.#value === undefined) throw new TypeError(`secret ${this} was not resolved`)
    return this.#value
  }

  toString(): string {
    return `env:${this.variable}`
  }

  toJSON(): string {
    return this.toString()
  }

  [inspect.custom](): string {
    return `Secret(${this})`
  }
}
