import { createHash } from "node:crypto"
import { isExpired, type KeyValueStore, type Stored } from "../state/state.ts"
import { type Session, toUserKey } from "./session-seal.ts"

/** A partition that no plugin's name, owner and tenant hash to. */
const PARTITION = createHash("sha256").update("bext session revocations").digest("hex").slice(0, 32)
const SESSION = "session:"
const USER = "user:"
/** Longer than any session lives: the configuration's longest duration is below 25 days. */
const USER_KEPT_MS = 26 * 86_400_000
const FIRST_SWEEP = 1_024
const RETRY_MS = 1_000

/**
 * The sessions that ended before their time: kept in the state, told to every process within its 50 ms, and asked without a
 * wait. One for each process, whatever snapshots come and go.
 */
export class SessionRevocations implements Disposable {
  readonly #state: KeyValueStore
  readonly #nowMs: () => number
  readonly #unwatch: () => void
  /** Session id → epoch milliseconds from which nobody needs to know any more. */
  #sessions = new Map<string, number>()
  /** User key → the user's sessions that began until then are over. */
  #users = new Map<string, { readonly untilMs: number; readonly expiresAtMs: number }>()
  #sweepAt = FIRST_SWEEP
  #retry: NodeJS.Timeout | null = null
  #closed = false

  /**
   * @param nowMs - Epoch milliseconds; the system's clock by default.
   * @throws {BextError} `E_STATE_UNAVAILABLE`.
   */
  static async open(state: KeyValueStore, nowMs: () => number = Date.now): Promise<SessionRevocations> {
    const revocations = new SessionRevocations(state, nowMs)
    try {
      revocations.#fill(await state.load(PARTITION))
    } catch (error) {
      revocations[Symbol.dispose]()
      throw error
    }
    return revocations
  }

  private constructor(state: KeyValueStore, nowMs: () => number) {
    this.#state = state
    this.#nowMs = nowMs
    this.#unwatch = state.watch({
      changed: (partition, key) => {
        if (partition === PARTITION) void this.#readAgain(key)
      },
      reset: () => void this.#loadAgain(),
    })
  }

  isRevoked({ id, userKeys, begunMs }: Pick<Session, "id" | "userKeys" | "begunMs">): boolean {
    if (this.#sessions.has(id)) return true
    if (this.#users.size === 0) return false
    return userKeys.some((key) => begunMs <= (this.#users.get(key)?.untilMs ?? Number.NEGATIVE_INFINITY))
  }

  /**
   * Ends one session: here at once, in the other processes within 50 ms after the promise resolved.
   * @param expiresAtMs - Epoch milliseconds from which its cookies are refused anyway.
   * @throws {BextError} `E_STATE_UNAVAILABLE`: here it is over, the others do not know.
   */
  revokeSession(id: string, expiresAtMs: number): Promise<void> {
    return this.#revoke(SESSION + id, { value: "", expiresAtMs })
  }

  /**
   * Ends all sessions of a user that have begun. As `revokeSession`.
   * @param options.host - On this host alone; all by default.
   * @param options.untilMs - Those that began until then, epoch milliseconds; now by default.
   * @throws {BextError} `E_STATE_UNAVAILABLE`.
   */
  revokeUser(userId: string, options: { readonly host?: string; readonly untilMs?: number } = {}): Promise<void> {
    const { host = "", untilMs = this.#nowMs() } = options
    return this.#revoke(USER + toUserKey(userId, host), { value: String(untilMs), expiresAtMs: untilMs + USER_KEPT_MS })
  }

  [Symbol.dispose](): void {
    this.#closed = true
    if (this.#retry !== null) clearTimeout(this.#retry)
    this.#unwatch()
  }

  async #revoke(key: string, entry: Stored): Promise<void> {
    this.#accept(key, entry)
    await this.#state.update(PARTITION, key, (current) => (endsMore(entry, current) ? entry : undefined))
    await this.#state.flush()
  }

  async #readAgain(key: string): Promise<void> {
    let entry: Stored | undefined
    try {
      entry = await this.#state.read(PARTITION, key)
    } catch {
      // Whatever it says, it ends something: more than it may say is the safe side.
      const nowMs = this.#nowMs()
      entry = { value: String(nowMs), expiresAtMs: nowMs + USER_KEPT_MS }
    }
    if (entry !== undefined) this.#accept(key, entry)
  }

  /** What was known stays known until the store answers. */
  async #loadAgain(): Promise<void> {
    try {
      this.#fill(await this.#state.load(PARTITION))
    } catch {
      if (!this.#closed) this.#retry = setTimeout(() => void this.#loadAgain(), RETRY_MS).unref()
    }
  }

  #fill(entries: ReadonlyMap<string, Stored>): void {
    const nowMs = this.#nowMs()
    const expired: string[] = []
    for (const [key, entry] of entries) {
      if (isExpired(entry, nowMs)) expired.push(key)
      else this.#accept(key, entry)
    }
    this.#remove(expired, nowMs)
  }

  #accept(key: string, entry: Stored): void {
    if (isExpired(entry, this.#nowMs())) return
    if (key.startsWith(SESSION)) this.#sessions.set(key.slice(SESSION.length), entry.expiresAtMs)
    else if (key.startsWith(USER)) this.#acceptUser(key.slice(USER.length), entry)
    if (this.#sessions.size + this.#users.size >= this.#sweepAt) this.#sweep()
  }

  #acceptUser(userKey: string, { value, expiresAtMs }: Stored): void {
    const untilMs = Number(value)
    const known = this.#users.get(userKey)
    if (known === undefined || untilMs > known.untilMs) this.#users.set(userKey, { untilMs, expiresAtMs })
  }

  #sweep(): void {
    const nowMs = this.#nowMs()
    const expired: string[] = []
    for (const [id, expiresAtMs] of this.#sessions) {
      if (expiresAtMs <= nowMs && this.#sessions.delete(id)) expired.push(SESSION + id)
    }
    for (const [userKey, { expiresAtMs }] of this.#users) {
      if (expiresAtMs <= nowMs && this.#users.delete(userKey)) expired.push(USER + userKey)
    }
    this.#sweepAt = Math.max(FIRST_SWEEP, (this.#sessions.size + this.#users.size) * 2)
    this.#remove(expired, nowMs)
  }

  #remove(expired: readonly string[], nowMs: number): void {
    // The store has told the operator; what stays there is removed another time.
    if (expired.length > 0) this.#state.removeExpired(PARTITION, expired, nowMs).catch(() => {})
  }
}

/** Nothing that is over comes back: who asks for less than that changes nothing. */
function endsMore(entry: Stored, current: Stored | undefined): boolean {
  return current === undefined || Number(entry.value) > Number(current.value)
}
