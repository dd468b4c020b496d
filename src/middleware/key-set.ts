import { createLocalJWKSet, errors, type JSONWebKeySet, type JWTVerifyGetKey } from "jose"
import { BextError } from "../errors.ts"

export interface KeySetOptions {
  /** Reads the set, as JSON text. */
  readonly load: () => Promise<string>
  /** Milliseconds after which the set is read again, behind the requests. */
  readonly freshMs: number
  /** Least milliseconds between two readings, also when a token names an unknown key and after a failure. */
  readonly cooldownMs: number
  /** Epoch milliseconds. */
  readonly now: () => number
  /** Told when a reading failed. */
  readonly warn: (message: string) => void
}

/** While nothing is known at all every token waits for a reading, so they may come sooner. */
const FIRST_COOLDOWN_MS = 1_000
const STALE_MS = 24 * 60 * 60 * 1000
const MAX_KEYS = 100

/**
 * A JSON Web Key Set (RFC 7517 §5) that changes while the server runs. It is read again when it is no longer fresh and when
 * a token names a key it lacks. While it cannot be read, or what is read is not a key set, the last good one stays in use,
 * for a day at most: by then a withdrawn key must not count any more.
 */
export class KeySet {
  /** Changes with the keys; what was verified under another version is void. */
  version = 0
  readonly #options: KeySetOptions
  #text: string | undefined
  #keys: JWTVerifyGetKey | undefined
  #loadedAtMs = Number.NEGATIVE_INFINITY
  #triedAtMs = Number.NEGATIVE_INFINITY
  #reading: Promise<void> | undefined

  constructor(options: KeySetOptions) {
    this.#options = options
  }

  /** Reads the set again, behind the request, when that is due. Cheap: meant for every request. */
  poll(nowMs: number): void {
    const ageMs = nowMs - this.#loadedAtMs
    if (isWithin(ageMs, this.#options.freshMs)) return
    if (ageMs > STALE_MS) this.#forget()
    void this.#refresh()
  }

  /** The key for one token. @throws {BextError} `E_AUTH_KEYS_UNAVAILABLE`. */
  readonly resolve: JWTVerifyGetKey = async (header, token) => {
    if (this.#keys === undefined) await this.#refresh()
    try {
      return await this.#known()(header, token)
    } catch (error) {
      if (!(error instanceof errors.JWKSNoMatchingKey)) throw error
    }
    await this.#refresh()
    return await this.#known()(header, token)
  }

  /** Takes a set that was read. @throws {Error} when it is none; the one before then stays. */
  replace(text: string): void {
    if (text !== this.#text) {
      const set = JSON.parse(text) as JSONWebKeySet
      const keys = createLocalJWKSet(set)
      if (set.keys.length > MAX_KEYS) throw new Error(`a key set of ${set.keys.length} keys, more than ${MAX_KEYS}`)
      this.#keys = keys
      this.#text = text
      this.version++
    }
    this.#loadedAtMs = this.#options.now()
  }

  #known(): JWTVerifyGetKey {
    if (this.#keys === undefined) throw new BextError("E_AUTH_KEYS_UNAVAILABLE", "no key set could be read")
    return this.#keys
  }

  #forget(): void {
    if (this.#keys === undefined) return
    this.#keys = undefined
    this.#text = undefined
    this.version++
  }

  #refresh(): Promise<void> {
    if (this.#reading !== undefined) return this.#reading
    const { cooldownMs, now } = this.#options
    const cooldown = this.#keys === undefined ? Math.min(cooldownMs, FIRST_COOLDOWN_MS) : cooldownMs
    if (isWithin(now() - this.#triedAtMs, cooldown)) return Promise.resolve()
    this.#triedAtMs = now()
    this.#reading = this.#read().finally(() => {
      this.#reading = undefined
    })
    return this.#reading
  }

  async #read(): Promise<void> {
    try {
      this.replace(await this.#options.load())
    } catch (error) {
      const kept = this.#keys === undefined ? "no token can be checked" : "the last known keys stay in use"
      this.#options.warn(`middleware.auth: the key set could not be read (${describe(error)}); ${kept}`)
    }
  }
}

/** An age below zero means that the clock was set back, and says nothing. */
function isWithin(ageMs: number, spanMs: number): boolean {
  return ageMs >= 0 && ageMs < spanMs
}

/** `fetch` says only "fetch failed" and keeps the reason as the cause. */
function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  return error.cause instanceof Error ? `${error.message}: ${error.cause.message}` : error.message
}
