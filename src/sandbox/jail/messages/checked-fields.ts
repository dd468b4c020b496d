import { type ErrorCode, PluginError } from "../../../errors.ts"
import { quote } from "../../../host/quote.ts"
import type { Json } from "../../sandbox.ts"
import { fromBase64 } from "./base64.ts"

export type JsonObject = { readonly [name: string]: Json }
export type Pairs = readonly (readonly [string, string])[]

/** Header fields, names of header fields, tags in one list: more than anybody takes, and the host looks at each. */
const MAX_ENTRIES = 1000

/** Reads named fields of what a program wrote, each as the type it must have. A field that is null is as good as none. */
export class CheckedFields {
  readonly #plugin: string
  readonly #where: string
  readonly #fields: JsonObject
  readonly #maxBytes: number

  /**
   * @param where - Begins each message, such as "storage.get: ".
   * @param maxBytes - Of one text or byte string.
   */
  constructor(plugin: string, where: string, fields: JsonObject, maxBytes: number) {
    this.#plugin = plugin
    this.#where = where
    this.#fields = fields
    this.#maxBytes = maxBytes
  }

  /** The field as it is; undefined: there is none. */
  value(name: string): Json | undefined {
    return this.#fields[name]
  }

  has(name: string): boolean {
    return this.#get(name) !== null
  }

  /** @throws {PluginError} `E_GUEST_RESULT_INVALID`, `E_LIMIT_MESSAGE`; all below likewise. */
  text(name: string): string {
    return this.optionalText(name) ?? this.#missing(name, "a text")
  }

  optionalText(name: string): string | null {
    const value = this.#get(name)
    return value === null ? null : this.#checkText(value, name)
  }

  number(name: string, absent: number): number {
    const value = this.#get(name) ?? absent
    if (typeof value === "number" && Number.isFinite(value)) return value
    throw this.invalid(`${name} is not a number`)
  }

  /** A whole number that has no neighbour it could be taken for. */
  integer(name: string, absent: number | null): number {
    const value = this.#get(name) ?? absent ?? this.#missing(name, "a whole number")
    if (typeof value === "number" && Number.isSafeInteger(value)) return value
    throw this.invalid(`${name} is not a whole number`)
  }

  oneOf<const T extends string>(name: string, words: readonly T[], absent: T | null): T {
    const value = this.#get(name) ?? absent
    const found = words.find((word) => word === value)
    if (found === undefined) throw this.invalid(`${name} is none of ${words.join(", ")}`)
    return found
  }

  /** A text, or bytes: `{"base64": text}`. */
  optionalBytes(name: string): string | Uint8Array | null {
    const value = this.#get(name)
    if (value === null) return null
    if (isObject(value) && value.base64 !== undefined) return this.#decode(value.base64, name)
    if (typeof value !== "string") throw this.invalid(`${name} is neither a text nor {"base64": text}`)
    return this.#checkText(value, name)
  }

  bytes(name: string): string | Uint8Array {
    return this.optionalBytes(name) ?? this.#missing(name, 'a text or {"base64": text}')
  }

  /** The field's own value is base64. */
  base64(name: string): Uint8Array {
    return this.#decode(this.#get(name), name)
  }

  /** A list of texts; empty when there is none. */
  texts(name: string): readonly string[] {
    const value = this.#get(name)
    if (value === null) return NO_TEXTS
    if (!Array.isArray(value)) throw this.invalid(`${name} is not a list of texts`)
    this.#checkCount(value.length, name)
    return value.map((text) => this.#checkText(text, `one of ${name}`))
  }

  /** A list of pairs of texts, or an object whose values are texts or lists of texts; empty when there is none. */
  pairs(name: string): Pairs {
    const value = this.#get(name)
    if (value === null) return NO_PAIRS
    if (Array.isArray(value)) {
      this.#checkCount(value.length, name)
      return value.map((pair) => this.#pair(pair, name))
    }
    const pairs = this.#entries(value, name).flatMap(([key, texts]) =>
      (Array.isArray(texts) ? texts : [texts]).map((text) => [key, this.#member(text, name, key)] as const),
    )
    this.#checkCount(pairs.length, name)
    return pairs
  }

  /** An object whose values are texts. */
  textEntries(name: string): Pairs {
    const value = this.#get(name)
    if (value === null) return NO_PAIRS
    return this.#entries(value, name).map(([key, text]) => [key, this.#member(text, name, key)])
  }

  /** An object whose values are texts, numbers, true or false, all as text. */
  scalarEntries(name: string): Pairs {
    const value = this.#get(name)
    if (value === null) return NO_PAIRS
    return this.#entries(value, name).map(([key, scalar]) => {
      if (typeof scalar === "object")
        throw this.invalid(`${name}[${quote(key)}] is not a text, a number, true or false`)
      return [key, String(scalar)]
    })
  }

  /** @throws {PluginError} `E_LIMIT_MESSAGE`. */
  checkSize(value: string | Uint8Array, name: string): void {
    // No UTF-16 unit takes more than three bytes of UTF-8.
    if (value.length * 3 <= this.#maxBytes) return
    const bytes = typeof value === "string" ? Buffer.byteLength(value) : value.length
    if (bytes <= this.#maxBytes) return
    throw this.#error("E_LIMIT_MESSAGE", `${name} has ${bytes} bytes; the limit is ${this.#maxBytes}`)
  }

  invalid(what: string): PluginError {
    return this.#error("E_GUEST_RESULT_INVALID", what)
  }

  #get(name: string): Json {
    return this.#fields[name] ?? null
  }

  #missing(name: string, what: string): never {
    throw this.invalid(`there is no ${name}; it is ${what}`)
  }

  #checkText(value: Json | undefined, name: string): string {
    if (typeof value !== "string") throw this.invalid(`${name} is not a text`)
    this.checkSize(value, name)
    return value
  }

  #decode(value: Json | undefined, name: string): Uint8Array {
    const bytes = typeof value === "string" ? fromBase64(value) : null
    if (bytes === null) throw this.invalid(`${name} is not base64 with padding`)
    this.checkSize(bytes, name)
    return bytes
  }

  #pair(pair: Json, name: string): readonly [string, string] {
    if (!Array.isArray(pair) || pair.length !== 2) throw this.invalid(`${name} is not a list of pairs`)
    const [key, text] = pair as readonly Json[]
    if (typeof key !== "string") throw this.invalid(`the name of one of ${name} is not a text`)
    return [key, this.#member(text, name, key)]
  }

  #member(text: Json | undefined, name: string, key: string): string {
    if (typeof text !== "string") throw this.invalid(`${name}[${quote(key)}] is not a text`)
    this.checkSize(key, `a name in ${name}`)
    this.checkSize(text, `${name}[${quote(key)}]`)
    return text
  }

  #entries(value: Json, name: string): [string, Json][] {
    if (!isObject(value)) throw this.invalid(`${name} is not an object`)
    const entries = Object.entries(value)
    this.#checkCount(entries.length, name)
    return entries
  }

  #checkCount(count: number, name: string): void {
    if (count > MAX_ENTRIES) throw this.#error("E_LIMIT_MESSAGE", `${name} has more than ${MAX_ENTRIES} entries`)
  }

  #error(code: ErrorCode, what: string): PluginError {
    return new PluginError(code, this.#plugin, this.#where + what)
  }
}

const NO_TEXTS: readonly string[] = []
const NO_PAIRS: Pairs = []

export function isObject(value: Json): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value)
}
