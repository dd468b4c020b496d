import { accessSync, constants, statfsSync } from "node:fs"
import Negotiator from "negotiator"
import { printable } from "../config/printable.ts"
import { BextError } from "../errors.ts"
import type { Json } from "../sandbox/sandbox.ts"
import { controlMetrics } from "../telemetry/server-metrics.ts"
import { METRIC_TYPES, writeMetrics } from "../telemetry/write-metrics.ts"
import type { Control, ServerStatus } from "./control.ts"
import { summarisePlugins } from "./plugin-summary.ts"

/** What a route answers; `follow`: lines until one side ends. */
export type AdminAnswer =
  | { readonly status?: number; readonly json: object }
  | { readonly text: string; readonly type: string }
  | { readonly lines: readonly string[] }
  | { readonly follow: number }

export interface AdminCall {
  readonly query: URLSearchParams
  readonly accept: string | undefined
  /** What was sent as JSON; undefined for GET. */
  readonly body: Json | undefined
  /** NAME of the path, otherwise empty. */
  readonly plugin: string
}

type RouteTable = ReadonlyMap<string, Readonly<Record<string, Route>>>

type Route = (call: AdminCall) => AdminAnswer | Promise<AdminAnswer>

export interface AdminRoutes {
  /**
   * @param path - As it was sent, without the query: nothing is decoded or normalised, so that a path has one spelling.
   * @throws {BextError} `E_NOT_FOUND`, `E_METHOD_NOT_ALLOWED`.
   */
  find(method: string, path: string): { readonly route: Route; readonly plugin: string }
}

/** Everything the admin listener answers. @param stateDir - Where the state is; health looks at its disk. */
export function createAdminRoutes(control: Control, stateDir: string): AdminRoutes {
  const routes: RouteTable = new Map([
    ["/metrics", { GET: metrics }],
    ["/v1/status", { GET: async () => ({ json: await control.status() }) }],
    ["/v1/health", { GET: health }],
    ["/v1/stack", { GET: async () => ({ json: { stack: (await control.status()).stack } }) }],
    ["/v1/config", { GET: () => ({ json: { config: control.config() } }) }],
    ["/v1/logs", { GET: logs }],
    ["/v1/reload", { POST: reload }],
    ["/v1/plugins", { GET: async () => ({ json: { plugins: summarisePlugins((await control.status()).processes) } }) }],
  ])
  /** Below /v1/plugins/NAME. */
  const pluginRoutes: RouteTable = new Map([
    ["", { GET: plugin }],
    ["/quarantine", { POST: quarantine }],
    ["/release", { POST: release }],
  ])

  return {
    find(method, path) {
      const [, name = "", rest = ""] = /^\/v1\/plugins\/([a-z][a-z0-9-]{0,63})(\/.*)?$/.exec(path) ?? []
      const methods = name === "" ? routes.get(path) : pluginRoutes.get(rest)
      if (methods === undefined) throw new BextError("E_NOT_FOUND", "the admin API has no such path")
      const route = Object.hasOwn(methods, method) ? methods[method] : method === "HEAD" ? methods.GET : undefined
      if (route !== undefined) return { route, plugin: name }
      const allow = Object.keys(methods)
        .map((allowed) => (allowed === "GET" ? "GET, HEAD" : allowed))
        .join(", ")
      throw new BextError("E_METHOD_NOT_ALLOWED", `this path takes ${allow}`, { headers: [["Allow", allow]] })
    },
  }

  async function metrics({ query, accept }: AdminCall): Promise<AdminAnswer> {
    checkQuery(query, [])
    const format = wantsOpenMetrics(accept) ? "openmetrics" : "prometheus"
    const [families, status] = await Promise.all([control.metrics(), control.status()])
    return { text: writeMetrics([...families, ...controlMetrics(status)], format), type: METRIC_TYPES[format] }
  }

  async function health(): Promise<AdminAnswer> {
    const json = toHealth(await control.status(), stateDir)
    return { status: json.status === "failing" ? 503 : 200, json }
  }

  async function plugin({ plugin: name }: AdminCall): Promise<AdminAnswer> {
    const { processes } = await control.status()
    const parts = processes.flatMap(({ pid, leader, plugins }) =>
      plugins.filter((one) => one.name === name).map((one) => ({ pid, leader, ...one })),
    )
    const [summary] = summarisePlugins(
      processes.map((one) => ({ ...one, plugins: one.plugins.filter((p) => p.name === name) })),
    )
    if (summary === undefined) throw new BextError("E_NOT_FOUND", `no plugin ${name} is loaded`)
    return { json: { ...summary, limits: parts[0]!.limits, permissions: parts[0]!.permissions, processes: parts } }
  }

  async function reload({ body }: AdminCall): Promise<AdminAnswer> {
    readFields(body, [])
    return { json: await control.reload("admin") }
  }

  async function quarantine({ plugin: name, body }: AdminCall): Promise<AdminAnswer> {
    const { reason } = readFields(body, ["reason"])
    if (typeof reason !== "string" || reason.trim() === "" || reason.length > MAX_REASON) {
      throw new BextError("E_ADMIN_REQUEST", `expected a reason, a text of 1 to ${MAX_REASON} characters`)
    }
    await checkLoaded(name)
    await control.quarantine(name, printable(reason))
    return { json: { plugin: name, quarantined: true } }
  }

  async function release({ plugin: name, body }: AdminCall): Promise<AdminAnswer> {
    readFields(body, [])
    await checkLoaded(name)
    await control.release(name)
    return { json: { plugin: name, quarantined: false } }
  }

  async function checkLoaded(name: string): Promise<void> {
    const { processes } = await control.status()
    if (processes.some(({ plugins }) => plugins.some((one) => one.name === name))) return
    throw new BextError("E_NOT_FOUND", `no plugin ${name} is loaded`)
  }

  async function logs({ query }: AdminCall): Promise<AdminAnswer> {
    checkQuery(query, ["lines", "follow"])
    const lines = query.get("lines") ?? String(DEFAULT_LINES)
    if (!/^\d{1,4}$/.test(lines) || Number(lines) > MAX_LINES) {
      throw new BextError("E_ADMIN_REQUEST", `lines is a whole number from 0 to ${MAX_LINES}`)
    }
    const follow = query.get("follow") ?? "0"
    if (follow !== "0" && follow !== "1") throw new BextError("E_ADMIN_REQUEST", "follow is 0 or 1")
    return follow === "1" ? { follow: Number(lines) } : { lines: await control.logTail(Number(lines)) }
  }
}

const MAX_REASON = 500
const DEFAULT_LINES = 100
const MAX_LINES = 1000

/** Only what a route knows: a misspelt name must not be ignored, and a token has no place in a URL. */
function checkQuery(query: URLSearchParams, known: readonly string[]): void {
  const names = [...query.keys()]
  const bad = names.find((name, index) => !known.includes(name) || names.indexOf(name) !== index)
  if (bad === undefined) return
  const has = known.length === 0 ? "takes no query" : `knows ${known.join(" and ")}, once each`
  throw new BextError("E_ADMIN_REQUEST", `this path ${has}`)
}

function readFields(body: Json | undefined, known: readonly string[]): Readonly<Record<string, Json>> {
  const isObject = typeof body === "object" && body !== null && !Array.isArray(body)
  if (isObject && Object.keys(body).every((key) => known.includes(key))) return body as Record<string, Json>
  throw new BextError("E_ADMIN_REQUEST", `expected a JSON object with ${known.join(", ") || "no fields"}`)
}

function wantsOpenMetrics(accept: string | undefined): boolean {
  const types = ["text/plain; version=0.0.4", "application/openmetrics-text; version=1.0.0"]
  return new Negotiator({ headers: { accept } }).mediaType(types) === types[1]
}

/** Below this the state cannot grow any more. */
const LEAST_FREE_BYTES = 16 * 1024 * 1024

interface Health {
  /** failing: nobody serves, or the state cannot be written. degraded: it serves, and somebody should look. */
  readonly status: "ok" | "degraded" | "failing"
  /** Why it is not ok. */
  readonly reasons: readonly string[]
  readonly processes: { readonly serving: number; readonly all: number }
  readonly state: { readonly dir: string; readonly writable: boolean; readonly freeBytes: number | null }
  readonly quarantined: readonly string[]
  readonly lastReload: ServerStatus["lastReload"]
}

function toHealth({ processes, lastReload }: ServerStatus, dir: string): Health {
  const serving = processes.filter(({ state }) => state === "serving").length
  const state = { dir, writable: isWritable(dir), freeBytes: freeBytes(dir) }
  const quarantined = summarisePlugins(processes)
    .filter((one) => one.quarantine !== null)
    .map(({ name }) => name)
  const failing = [
    ...(serving === 0 ? ["no process serves"] : []),
    ...(state.writable ? [] : ["the state cannot be written"]),
    ...(state.freeBytes !== null && state.freeBytes < LEAST_FREE_BYTES ? ["the disk of the state is full"] : []),
  ]
  const degraded = [
    ...(serving < processes.length
      ? [`${processes.length - serving} of ${processes.length} processes do not serve`]
      : []),
    ...quarantined.map((name) => `the plugin ${name} is out of service`),
    ...(lastReload?.ok === false ? ["the last reload failed"] : []),
  ]
  const status = failing.length > 0 ? "failing" : degraded.length > 0 ? "degraded" : "ok"
  const reasons = [...failing, ...degraded]
  return { status, reasons, processes: { serving, all: processes.length }, state, quarantined, lastReload }
}

function isWritable(folder: string): boolean {
  try {
    accessSync(folder, constants.W_OK | constants.X_OK)
    return true
  } catch {
    return false
  }
}

function freeBytes(folder: string): number | null {
  try {
    const { bavail, bsize } = statfsSync(folder)
    return bavail * bsize
  } catch {
    return null
  }
}
