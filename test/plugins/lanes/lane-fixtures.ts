import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { pino } from "pino"
import { createHost } from "../../../src/host/create-host.ts"
import { type BoundServices, createGuestServices } from "../../../src/host/create-services.ts"
import { toQueueSettings } from "../../../src/host/queue-settings.ts"
import type { LaneRights } from "../../../src/plugins/lanes/lane-protocol.ts"
import type { LanedSandbox } from "../../../src/plugins/lanes/laned-sandbox.ts"
import { type LaneClock, Lanes, type LanesOptions } from "../../../src/plugins/lanes/lanes.ts"
import { createQuickjsTier } from "../../../src/sandbox/quickjs/tier.ts"
import type { Limits, SandboxTier } from "../../../src/sandbox/sandbox.ts"
import { openLmdbStore } from "../../../src/state/lmdb-store.ts"
import { RecordingServices } from "../../contracts/recording-services.ts"
import { LIMITS, type LoadOptions } from "../../contracts/sandbox-contract.ts"
import { compileC } from "../../sandbox/wasm/compile-c.ts"

/** Lanes with a tier and a state of their own, and everything they log. */
export class LaneBench implements AsyncDisposable {
  readonly logged: {
    readonly level: number
    readonly msg: string
    readonly plugin?: string
    readonly lane?: string
  }[] = []
  readonly lanes: Lanes
  readonly tier: SandboxTier
  readonly #folder: string
  readonly #parts = new AsyncDisposableStack()
  #guests = 0

  private constructor(tier: SandboxTier, options: Partial<LanesOptions>) {
    this.tier = tier
    this.#folder = mkdtempSync(join(tmpdir(), "bext-lane-"))
    this.lanes = new Lanes({
      entry: new URL("../../../src/lane-thread.ts", import.meta.url),
      stateDir: this.#folder,
      logger: pino({ level: "debug" }, { write: (line: string) => void this.logged.push(JSON.parse(line)) }),
      ...options,
    })
  }

  static async open(options: Partial<LanesOptions> = {}, tier?: SandboxTier): Promise<LaneBench> {
    return new LaneBench(tier ?? (await createQuickjsTier()), options)
  }

  /** A guest with this source, ready for calls. */
  async open(source: string, options: Partial<LoadOptions> & LaneWish = {}): Promise<LanedSandbox> {
    const folder = join(this.#folder, `guest-${++this.#guests}`)
    mkdirSync(folder)
    writeFileSync(join(folder, "index.js"), source)
    const { limits = LIMITS, instance = "shared", stored = false } = options
    const services = options.services ?? new RecordingServices()
    if (stored) return this.#openStored(folder, services)
    const guest = await this.load(folder, { services, limits, instance }, options)
    await guest.ready(null)
    return guest
  }

  async #openStored(folder: string, recording: RecordingServices): Promise<LanedSandbox> {
    const log = pino({ level: "silent" })
    const state = this.#parts.use(openLmdbStore({ dir: this.#folder, log }))
    const host = this.#parts.use(createHost({ state, log, isOwnListener: () => true, allowPrivate: [] }))
    const bound = createGuestServices(host, toRights(folder, recording, LIMITS))
    const services = Object.assign(Object.create(recording), { storage: bound.storage })
    const guest = await this.load(folder, { services, limits: LIMITS, instance: "shared" }, { storage: bound })
    await guest.ready(null)
    return guest
  }

  /** Loads the JavaScript form of a guest fixture, or what is in a folder. Not `ready`. */
  async load(
    guest: string,
    { services, limits, instance }: LoadOptions,
    { wanted = "auto", share = 0.1, storage = NO_STORAGE }: LaneWish = {},
  ): Promise<LanedSandbox> {
    const folder = guest.startsWith("/")
      ? guest
      : fileURLToPath(new URL(`../../fixtures/guests/${guest}`, import.meta.url))
    const name = folder.split("/").at(-1)!
    const entry = this.tier.tier === "wasm" ? await compileC(`${folder}/guest.c`) : `${folder}/index.js`
    const sandbox = await this.tier.load({ name, folder, entry }, services, limits, instance)
    return this.lanes.wrap(this.tier, sandbox, {
      wanted,
      share,
      instance,
      rights: toRights(folder, services, limits),
      services: Object.assign(Object.create(services), {
        flushStorage: storage.flushStorage,
        refreshStorage: storage.refreshStorage,
      }),
      hidden: () => {},
      logger: pino({ level: "debug" }, { write: (line: string) => void this.logged.push(JSON.parse(line)) }),
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.lanes[Symbol.asyncDispose]()
    await this.#parts.disposeAsync()
    rmSync(this.#folder, { recursive: true })
  }
}

function toRights(folder: string, services: RecordingServices, limits: Limits): LaneRights {
  const name = folder.split("/").at(-1)!
  return {
    plugin: name,
    owner: folder,
    permissions: NO_PERMISSIONS,
    config: services.config,
    secrets: new Map([["KEY", "s3cret"]]),
    quotaBytes: 1024 * 1024,
    queues: [toQueueSettings("mail", undefined)],
    messageBytes: limits.messageBytes,
    access: {
      plugin: name,
      headers: [],
      permissions: NO_PERMISSIONS,
      body: "both",
      maxBodyBytes: limits.messageBytes,
      maxAnswerBytes: limits.messageBytes,
    },
  }
}

export interface LaneWish {
  readonly wanted?: "auto" | "inline" | "worker"
  readonly share?: number
  /** Its storage is the real one, which the lane opens too. */
  readonly stored?: boolean
  readonly storage?: Pick<BoundServices, "flushStorage" | "refreshStorage">
}

const NO_STORAGE = { flushStorage: async () => {}, refreshStorage: async () => {} }

/** Clocks that stand still until the test moves them. */
export class TestClock implements LaneClock {
  nowMs = 1000
  cpuMs = 0
  activeMs = 0
  now = () => this.nowMs
  cpu = () => this.cpuMs
  active = () => this.activeMs

  /** @param running - Part of the time that the thread really ran. */
  pass(ms: number, running: number): void {
    this.nowMs += ms
    this.activeMs += ms
    this.cpuMs += ms * running
  }
}

/** @throws {Error} when it takes far longer than anything here should. */
export async function until(condition: () => boolean): Promise<void> {
  const endMs = performance.now() + 20_000
  while (!condition()) {
    if (performance.now() > endMs) throw new Error(`it never came: ${condition}`)
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
}

const NO_PERMISSIONS = {
  allowed_urls: ["http://elsewhere/**"],
  max_fetch_per_minute: 0,
  queues: ["mail"],
  secrets: ["KEY"],
  sensitive_headers: [],
  set_cookies: [],
  identity: false,
  rewrite_path: true,
  rewrite_method: true,
  purge: false,
}
