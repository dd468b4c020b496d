import type { Plugin, RequestContext } from "bext/plugin"
import { CountryTable } from "./country-table.ts"

interface Config {
  readonly source: "table" | "header"
  readonly header: string
  readonly rules?: readonly {
    readonly countries: readonly string[]
    readonly target: string
    readonly keep_path: boolean
  }[]
  readonly exempt: readonly string[]
  readonly status: 302 | 307
  readonly stay_parameter: string
  readonly request_header: string
  readonly table?: { readonly [country: string]: readonly string[] }
}

const config = bext.config as unknown as Config
const table = new CountryTable(config.table ?? {})
const rules = (config.rules ?? []).map(({ target, ...rule }) => ({ ...rule, target: target.replace(/\/$/, "") }))

export default {
  onRequest(ctx) {
    const country = countryOf(ctx)
    if (country !== null) ctx.extensions.set("country", country)
    if (config.request_header !== "") {
      if (country === null) ctx.request.removeHeader(config.request_header)
      else ctx.request.setHeader(config.request_header, country)
    }
    if (country === null || !mayRedirect(ctx)) return
    const rule = rules.find(({ countries }) => countries.includes(country))
    if (rule === undefined || isThere(ctx, rule.target)) return
    const location = rule.keep_path ? rule.target + encodePath(ctx.path) + queryOf(ctx) : rule.target
    return new Response(null, { status: config.status, headers: { location, "cache-control": "no-store" } })
  },

  onResponse(ctx) {
    // With a table the address decides, which no field can name: shared caches belong behind this plugin.
    if (config.source !== "header" || isExempt(ctx.path)) return
    const named = (ctx.response.headers.get("vary") ?? "").toLowerCase().split(",")
    if (!named.some((name) => name.trim() === config.header.toLowerCase() || name.trim() === "*")) {
      ctx.response.appendHeader("vary", config.header)
    }
  },
} satisfies Plugin

/** @returns An ISO 3166 code; null when it is not known. XX is what proxies say then. */
function countryOf(ctx: RequestContext): string | null {
  if (config.source === "table") return table.find(ctx.clientAddress)
  const value = ctx.headers.get(config.header)?.trim().toUpperCase() ?? ""
  return /^[A-Z]{2}$/.test(value) && value !== "XX" ? value : null
}

/** Only reading is sent elsewhere: what a form sends would be lost, or sent twice. */
function mayRedirect(ctx: RequestContext): boolean {
  if (ctx.method !== "GET" && ctx.method !== "HEAD") return false
  if (config.stay_parameter !== "" && ctx.searchParams.has(config.stay_parameter)) return false
  return !isExempt(ctx.path)
}

function isExempt(path: string): boolean {
  return config.exempt.some((pattern) => {
    if (!pattern.endsWith("/**")) return path === pattern
    const folder = pattern.slice(0, -"/**".length)
    return path === folder || path.startsWith(`${folder}/`)
  })
}

/** Who has arrived is not sent again. */
function isThere(ctx: RequestContext, target: string): boolean {
  const [, host, folder = ""] = /^(?:https?:\/\/([^/]+))?(\/.*)?$/.exec(target) ?? []
  if (host !== undefined && withoutPort(host) !== ctx.hostname) return false
  return folder === "" ? true : ctx.path === folder || ctx.path.startsWith(`${folder}/`)
}

function withoutPort(host: string): string {
  return host.toLowerCase().replace(/:\d+$/, "")
}

function encodePath(path: string): string {
  return path.split("/").map(encodeURIComponent).join("/")
}

function queryOf({ query }: RequestContext): string {
  return query === "" ? "" : `?${query.replace(/[^\x21-\x7e]/g, encodeURIComponent)}`
}
