import { fingerprint } from "../config/fingerprint.ts"
import type { Handler } from "../handlers/handler.ts"
import { createUpstreamHandler, type UpstreamOptions } from "../handlers/upstream.ts"

interface Shared {
  readonly handler: Handler
  users: number
}

/** The upstreams one snapshot uses. */
export interface UpstreamLease {
  /**
   * As `createUpstreamHandler`; the same upstream with the same settings shares its connections. Not closed with the router
   * that has it.
   */
  create(url: string, options: UpstreamOptions): Handler
  /** Gives all of them back; what nobody else uses is closed. Resolves when its last request has ended. */
  release(): Promise<void>
}

/** The process's upstreams, so that their connections outlive the snapshots that use them. */
export class SharedUpstreams {
  readonly #shared = new Map<string, Shared>()

  lease(): UpstreamLease {
    const keys = new Set<string>()
    return {
      create: (url, options) => {
        const key = fingerprint([url, options])
        const shared = this.#shared.get(key) ?? { handler: createUpstreamHandler(url, options), users: 0 }
        this.#shared.set(key, shared)
        if (!keys.has(key)) shared.users++
        keys.add(key)
        return { handle: (context) => shared.handler.handle(context) }
      },
      release: async () => {
        const released = [...keys]
        keys.clear()
        await Promise.all(released.map((key) => this.#release(key)))
      },
    }
  }

  async #release(key: string): Promise<void> {
    const shared = this.#shared.get(key)!
    if (--shared.users > 0) return
    this.#shared.delete(key)
    await shared.handler.close?.()
  }
}
