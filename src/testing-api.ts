/**
 * For the tests of a plugin, exported as `bext/testing`: loads it in its real sandbox and sends it requests through a real
 * server on a free port of this machine. Types only.
 * ```ts
 * import assert from "node:assert/strict"
 * import { test } from "node:test"
 * import { loadPlugin } from "bext/testing"
 *
 * test("says hello", async () => {
 *   await using plugin = await loadPlugin(new URL("..", import.meta.url))
 *   const response = await plugin.request("/hello?name=Ada")
 *   assert.equal(await response.text(), "Hello, Ada!")
 * })
 * ```
 */

/** What the operator would write into `[plugins.NAME]`, and the app behind it. */
export interface TestOptions {
  /** `[plugins.NAME.config]`. Default: the defaults of the plugin's schema. */
  readonly config?: { readonly [key: string]: unknown }
  /** `[plugins.NAME.grant]`, e.g. `{ identity: true }`. Default: everything that plugin.toml asks for. */
  readonly grant?: { readonly [permission: string]: unknown }
  /** Values of the secrets that plugin.toml asks for. */
  readonly secrets?: { readonly [name: string]: string }
  /** Other fields of `[plugins.NAME]`, e.g. `{ match: [{ path: "/app/**" }] }`. */
  readonly plugin?: { readonly [field: string]: unknown }
  /** What answers when the plugin does not. Default: 200 with the text "app". */
  readonly app?: (request: Request) => Response | Promise<Response>
}

/** One line of the log: what the plugin wrote with `console`, and what the server said. */
export interface TestLog {
  readonly level: "trace" | "debug" | "info" | "warn" | "error" | "fatal"
  readonly message: string
}

export interface TestPlugin extends AsyncDisposable {
  /**
   * Sends a request and gives back what a client sees. Redirects are not followed.
   * @param path - From the slash on, with its query.
   */
  request(path: string, init?: RequestInit): Promise<Response>
  /** Everything logged so far, oldest first. */
  readonly log: readonly TestLog[]
  /** Stops the server, as the end of an `await using` block does: `onServerStop` and `cleanup` run. */
  close(): Promise<void>
}

/**
 * Loads a plugin and runs its `onServerStart`.
 * @param folder - The folder of its plugin.toml.
 * @throws {Error} with a `code`, and a message that says what is wrong and where, when the server would refuse it.
 */
export declare function loadPlugin(folder: string | URL, options?: TestOptions): Promise<TestPlugin>
