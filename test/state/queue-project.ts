import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { TestContext } from "node:test"
import type { QueueClock } from "../../src/state/lmdb-queue.ts"
import { openLmdbState } from "../../src/state/open-lmdb-state.ts"
import type { Lease, NewMessage, QueueSettings, QueueStore, StateLog } from "../../src/state/state.ts"

export const SETTINGS: QueueSettings = {
  queue: "mail",
  maxMessages: 1000,
  visibilityMs: 30_000,
  maxAttempts: 3,
  backoffMs: 1000,
  maxBackoffMs: 3_600_000,
  retentionMs: 86_400_000,
}

/** Clocks a test turns. */
export class TestClock implements QueueClock {
  #now = 1_800_000_000_000
  #monotonic = 1000
  nowMs(): number {
    return this.#now
  }
  monotonicMs(): number {
    return this.#monotonic
  }
  pass(ms: number): void {
    this.#now += ms
    this.#monotonic += ms
  }
  /** As if somebody set the system's clock. */
  set(byMs: number): void {
    this.#now += byMs
  }
}

export function temporaryFolder(t: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), "bext-queue-"))
  t.after(() => rmSync(dir, { recursive: true, force: true }))
  return dir
}

/** A store of its own folder; with `dir` another store of the same, as another process would have. */
export function openQueues(
  t: TestContext,
  options: { clock?: QueueClock; dir?: string; log?: StateLog } = {},
): { queues: QueueStore; dir: string; close(): Promise<void> } {
  const dir = options.dir ?? mkdtempSync(join(tmpdir(), "bext-queue-"))
  const { clock, log = { error: () => {} } } = options
  const state = openLmdbState({ dir, log, ...(clock === undefined ? {} : { queueClock: clock }) })
  t.after(async () => {
    await state[Symbol.asyncDispose]()
    if (options.dir === undefined) rmSync(dir, { recursive: true, force: true })
  })
  return { queues: state.queues, dir, close: async () => state[Symbol.asyncDispose]() }
}

export function message(value: unknown, more: Partial<NewMessage> = {}): NewMessage {
  return { value: JSON.stringify(value), key: null, tenant: null, delayMs: 0, ...more }
}

export async function lease(queues: QueueStore, max = 100, settings = SETTINGS): Promise<readonly Lease[]> {
  return (await queues.lease(settings, max)).leases
}

export const values = (leases: readonly Lease[]): unknown[] => leases.map(({ value }) => JSON.parse(value))

export async function done(queues: QueueStore, leases: readonly Lease[], settings = SETTINGS): Promise<number> {
  return queues.settle(
    settings,
    leases.map((lease) => ({ lease, as: "done" })),
  )
}
