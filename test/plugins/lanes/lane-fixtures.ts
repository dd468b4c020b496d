import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { pino } from "pino"
import type { LanedSandbox } from "../../../src/plugins/lanes/laned-sandbox.ts"
import { Lanes, type LanesOptions } from "../../../src/plugins/lanes/lanes.ts"
import { createQuickjsTier } from "../../../src/sandbox/quickjs/tier.ts"
import type { SandboxTier } from "../../../src/sandbox/sandbox.ts"
import type { LoadOptions } from "../../contracts/sandbox-contract.ts"

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

  static async open(options: Partial<LanesOptions> = {}): Promise<LaneBench> {
    return new LaneBench(await createQuickjsTier(), options)
  }

  /** Loads the JavaScript form of a guest fixture, or a file. Not `ready`. */
  async load(
    guest: string,
    { services, limits, instance }: LoadOptions,
    { wanted = "auto", share = 0.1 }: { wanted?: "auto" | "inline" | "worker"; share?: number } = {},
  ): Promise<LanedSandbox> {
    const folder = guest.startsWith("/")
      ? guest
      : fileURLToPath(new URL(`../../fixtures/guests/${guest}`, import.meta.url))
    const name = folder.split("/").at(-1)!
    const source = { name, folder, entry: `${folder}/index.js` }
    const sandbox = await this.tier.load(source, services, limits, instance)
    const storage = { flushStorage: async () => {}, refreshStorage: async () => {} }
    return this.lanes.wrap(this.tier, sandbox, {
      wanted,
      share,
      instance,
      rights: {
        plugin: name,
        owner: folder,
        permissions: NO_PERMISSIONS,
        config: services.config,
        secrets: new Map([["KEY", "s3cret"]]),
        quotaBytes: 1024 * 1024,
        queues: [],
        messageBytes: limits.messageBytes,
        access: {
          plugin: name,
          headers: [],
          permissions: NO_PERMISSIONS,
          body: "both",
          maxBodyBytes: limits.messageBytes,
          maxAnswerBytes: limits.messageBytes,
        },
      },
      services: Object.assign(Object.create(services), storage),
      hidden: () => {},
      logger: pino({ level: "debug" }, { write: (line: string) => void this.logged.push(JSON.parse(line)) }),
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.lanes[Symbol.asyncDispose]()
    rmSync(this.#folder, { recursive: true })
  }
}

const NO_PERMISSIONS = {
  allowed_urls: [],
  max_fetch_per_minute: 0,
  queues: [],
  secrets: ["KEY"],
  sensitive_headers: [],
  set_cookies: [],
  identity: false,
  rewrite_path: false,
  purge: false,
}
