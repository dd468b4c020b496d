import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { loadConfig } from "../src/config/load-config.ts"
import { createTiers } from "../src/create-tiers.ts"
import { BextError } from "../src/errors.ts"
import { createHost } from "../src/host/create-host.ts"
import { BodyBudget } from "../src/http/body-budget.ts"
import { HeaderList } from "../src/message/header-list.ts"
import type { RequestBody, RequestContext } from "../src/message/request-context.ts"
import { loadPlugins } from "../src/plugins/load-plugins.ts"
import type { PluginSet } from "../src/plugins/plugin-set.ts"
import { QuarantineBook } from "../src/plugins/quarantine.ts"
import { openLmdbStore } from "../src/state/lmdb-store.ts"
import { createLogger } from "../src/telemetry/log.ts"
import { writeConfig } from "./servers.ts"

/** The plugins of a configuration as a server has them, without the server: budgets armed, plugins started. */
export interface InProcess extends AsyncDisposable {
  readonly plugins: PluginSet
}

export async function createFromFile(text: string): Promise<InProcess> {
  const file = writeConfig(text)
  const config = loadConfig(file)
  const logger = createLogger(config.log)
  await using parts = new AsyncDisposableStack()
  const dir = mkdtempSync(join(tmpdir(), "bext-bench-"))
  parts.defer(() => rmSync(dir, { recursive: true, force: true }))
  const state = parts.use(openLmdbStore({ dir, log: logger }))
  const allowPrivate = config.fetch.allow_private
  const host = parts.use(createHost({ state, log: logger, isOwnListener: () => false, allowPrivate }))
  const bodies = new BodyBudget(config.server.limits.buffered_bodies)
  const role = { leader: true }
  const quarantines = parts.use(await QuarantineBook.open(state))
  const loading = {
    config,
    configDir: dirname(file),
    tiers: createTiers(),
    host,
    logger,
    role,
    quarantines,
    bodies,
  }
  const plugins = parts.use(await loadPlugins(loading))
  await plugins.start()
  const running = parts.move()
  return { plugins, [Symbol.asyncDispose]: () => running.disposeAsync() }
}

/** `on_request` of one plugin, as the stack calls it. */
export function onRequestOf(server: InProcess, name: string): (context: RequestContext) => void | Promise<void> {
  const plugin = server.plugins.find(name)?.plugin
  if (plugin?.onRequest === undefined) throw new Error(`no on_request in ${name}`)
  return (context) => plugin.onRequest!(context)
}

/** Fails unless the plugin named "spin" is stopped by its CPU budget. */
export async function assertSpinStops(server: InProcess): Promise<void> {
  try {
    await onRequestOf(server, "spin")(toContext())
  } catch (error) {
    if (error instanceof BextError && error.code === "E_LIMIT_CPU") return
    throw error
  }
  throw new Error("the spinning guest was not stopped")
}

export const REQUEST = {
  method: "GET",
  path: "/api/v1/items/42",
  headers: {
    host: "example.com",
    "user-agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36",
    accept: "text/html,application/xhtml+xml",
    "accept-language": "en-US,en;q=0.5",
    "accept-encoding": "gzip, deflate, br",
    connection: "keep-alive",
    cookie: "sid=abcdef0123456789; theme=dark",
    "cache-control": "max-age=0",
    "x-request-id": "8f14e45f-ceea-467f-a9b4-2b1c",
    "content-type": "application/json",
    referer: "http://example.com/",
    "x-plugin-key": "abc",
  },
} as const

const NO_BODY: RequestBody = {
  present: false,
  bytes: undefined,
  trailers: null,
  buffer: () => Promise.reject(new Error("no body")),
  replace() {},
  stream() {
    throw new Error("no body")
  },
}
const NEVER = new AbortController().signal

/** A request that was accepted, as the pipeline hands it to a plugin. */
export function toContext(tenantId: string | null = null): RequestContext {
  return {
    method: REQUEST.method,
    clientMethod: REQUEST.method,
    path: REQUEST.path,
    query: "q=hello",
    scheme: "http",
    host: "example.com",
    hostname: "example.com",
    clientAddress: "127.0.0.1",
    clientPort: 4711,
    protocolVersion: "HTTP/1.1",
    requestId: "0123456789abcdef0123456789abcdef",
    startedAtMs: 0,
    requestHeaders: HeaderList.from(Object.entries(REQUEST.headers)),
    requestBody: NO_BODY,
    user: null,
    tenantId,
    siteId: null,
    extensions: null,
    response: null,
    traceparent: null,
    timings: null,
    signal: NEVER,
  }
}
