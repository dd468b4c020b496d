import { type AdminListener, createAdminListener } from "../admin/admin-listener.ts"
import { fingerprint } from "../config/fingerprint.ts"
import type { Config } from "../config/schema.ts"
import type { RunningServer } from "../processes/running-server.ts"

/** The admin listener of a running server, opened again where a reload changed its settings. */
export class AdminEndpoint implements AsyncDisposable {
  #server: RunningServer | null = null
  #listener: AdminListener | null = null
  #settings = ""
  /** One change after the other. */
  #last: Promise<void> = Promise.resolve()

  /** @throws {BextError} `E_ADMIN_IN_USE`, `E_ADMIN_SOCKET`, `E_CONFIG_INVALID`. */
  async open(server: RunningServer): Promise<void> {
    this.#server = server
    await this.#listen(server, server.config)
  }

  /** Never rejects: the new configuration serves already. */
  reopen(config: Config): Promise<void> {
    this.#last = this.#last.then(() => this.#reopen(config))
    return this.#last
  }

  async close(): Promise<void> {
    await this.#last
    this.#server = null
    await this.#listener?.close()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #reopen(config: Config): Promise<void> {
    const server = this.#server
    if (server === null || settingsOf(config) === this.#settings) return
    try {
      // A call that asked for this reload is answered first.
      await this.#listener?.close()
      await this.#listen(server, config)
    } catch (error) {
      server.logger.error({ err: error }, "the admin listener is off: it could not be opened with its new settings")
    }
  }

  async #listen(server: RunningServer, config: Config): Promise<void> {
    const { control, logger: log } = server
    this.#settings = settingsOf(config)
    this.#listener = createAdminListener({ control, config, log })
    const where = await this.#listener.listen()
    if (where.kind === "tcp") server.addOwnListener(where.address, where.port)
  }
}

function settingsOf({ admin, state }: Config): string {
  return fingerprint([admin, state])
}
