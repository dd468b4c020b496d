import { BextError } from "../errors.ts"
import type { HeaderList } from "../message/header-list.ts"
import type { RequestContext } from "../message/request-context.ts"
import type { UpstreamCall } from "../message/request-trace.ts"

/** Fields that belong to one connection. Source: RFC 9110 §7.6.1; Proxy-* are addressed to a proxy, which is here. */
const HOP_BY_HOP = new Set([
  "connection",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
])

/** Request fields that are written anew from the context, or belong to the hop before. */
const REPLACED = new Set([
  ...HOP_BY_HOP,
  "host",
  "content-length",
  "expect",
  "forwarded",
  "x-forwarded-for",
  "x-forwarded-host",
  "x-forwarded-proto",
  "x-real-ip",
  "x-request-id",
])

export interface UpstreamIdentity {
  /** Host to send; undefined = the one the client asked for. */
  readonly host: string | undefined
  /** This hop's own name in Via, by which a request that comes round again is known. */
  readonly pseudonym: string
  /** Extension keys to send as x-bext-ext-KEY, percent-encoded. */
  readonly forwardExtensions: readonly string[]
  /** Whether to send x-bext-user: who the user is, when there is one, as JSON in ASCII. */
  readonly forwardUser: boolean
}

/**
 * The header section for the upstream, flat as undici takes it. The app sees who asked and how in X-Forwarded-For, -Proto,
 * -Host and Forwarded; each names the client alone, whatever hops lie between, so it need trust nobody but us.
 * @param call - Of a request that is traced: what the app's own spans are put below.
 * @throws {BextError} `E_UPSTREAM_UNREACHABLE` when the request has been through here before (RFC 9110 §7.6.3).
 */
export function toUpstreamHeaders(
  context: RequestContext,
  { host, pseudonym, forwardExtensions, forwardUser }: UpstreamIdentity,
  call: UpstreamCall | null,
): string[] {
  const traceparent = call === null ? context.traceparent : call.traceparent
  const fields: string[] = ["host", host ?? context.host]
  let via = ""
  const raw = context.requestHeaders.raw
  for (let at = 0; at < raw.length; at += 2) {
    const name = raw[at]!.toLowerCase()
    if (name === "via") via += `${raw[at + 1]!}, `
    else if (name === "traceparent" && traceparent !== null) continue
    else if (!REPLACED.has(name) && !name.startsWith("x-bext-")) fields.push(name, raw[at + 1]!)
  }
  if (via.includes(pseudonym)) throw new BextError("E_UPSTREAM_UNREACHABLE", "the upstream leads back to this server")
  fields.push("via", `${via}1.1 ${pseudonym}`)
  fields.push("x-forwarded-for", context.clientAddress)
  fields.push("x-forwarded-proto", context.scheme)
  fields.push("x-forwarded-host", context.host)
  fields.push("forwarded", toForwarded(context))
  fields.push("x-request-id", context.requestId)
  if (traceparent !== null) fields.push("traceparent", traceparent)
  const length = bodyLength(context)
  if (length !== undefined) fields.push("content-length", length)
  if (forwardUser && context.user !== null) fields.push("x-bext-user", toAscii(JSON.stringify(context.user)))
  for (const key of forwardExtensions) {
    const value = context.extensions?.get(key)
    if (value !== undefined) fields.push(`x-bext-ext-${key}`, encodeURIComponent(value.toWellFormed()))
  }
  return fields
}

/** Takes out of an upstream's header section, in place, what ends at this hop. */
export function removeHopByHop(headers: HeaderList): void {
  const nominated = headers.get("connection")
  for (const name of HOP_BY_HOP) headers.delete(name)
  if (nominated === undefined) return
  for (const name of nominated.split(",")) {
    const field = name.trim().toLowerCase()
    if (field !== "content-length" && field !== "close") headers.delete(field)
  }
}

/** JSON with everything that a header does not carry written as an escape. */
function toAscii(json: string): string {
  return json.replace(/[^ -~]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`)
}

/** Source: RFC 7239 §4 and §6. */
function toForwarded(context: RequestContext): string {
  const node = context.clientAddress.includes(":") ? `"[${context.clientAddress}]"` : context.clientAddress
  return `for=${node};host="${context.host}";proto=${context.scheme}`
}

function bodyLength(context: RequestContext): string | undefined {
  const { requestBody } = context
  if (requestBody.bytes !== undefined) {
    return requestBody.present || requestBody.bytes.length > 0 ? String(requestBody.bytes.length) : undefined
  }
  return context.requestHeaders.get("content-length")
}
