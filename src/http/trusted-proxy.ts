import { isIP } from "node:net"
import ipaddr from "ipaddr.js"
import { BextError } from "../errors.ts"
import { parseAuthority } from "./parse-authority.ts"

type Range = [ipaddr.IPv4 | ipaddr.IPv6, number]

/** What the forwarding headers of one request say, each repeated field joined by ", ". */
export interface ForwardingHeaders {
  readonly forwarded: string | undefined
  readonly xForwardedFor: string | undefined
  readonly xForwardedProto: string | undefined
  readonly xForwardedHost: string | undefined
}

/** What is left once the trusted hops are walked; undefined where the proxies said nothing. */
export interface Origin {
  readonly clientAddress: string
  readonly scheme: "http" | "https" | undefined
  readonly host: string | undefined
}

/** One element of a forwarding chain: who the next hop saw. `address` undefined: hidden ("unknown", "_name"). */
interface Hop {
  readonly address: string | undefined
  readonly scheme: string | undefined
  readonly host: string | undefined
}

/** The addresses of `server.trusted_proxies`. */
export class TrustedProxies {
  readonly #ranges: readonly Range[]

  /** @throws {BextError} `E_CONFIG_INVALID` for anything but addresses and CIDR ranges. */
  constructor(ranges: readonly string[]) {
    this.#ranges = ranges.map(parseRange)
  }

  get empty(): boolean {
    return this.#ranges.length === 0
  }

  /** @param address - An address as `toAddress` gives it. */
  has(address: string): boolean {
    if (this.empty || isIP(address) === 0) return false
    const parsed = ipaddr.parse(address)
    return this.#ranges.some(([network, bits]) => network.kind() === parsed.kind() && parsed.match(network, bits))
  }
}

/**
 * Finds who really asked, walking the chain from our peer outwards until the first address that is not trusted.
 * @param peer - The trusted proxy that is connected to us.
 * @throws {BextError} `E_REQUEST_INVALID` when what has to be read is malformed, or when Forwarded and X-Forwarded-For
 *   name different clients: a proxy that writes one of them may pass on the other as the client forged it.
 * Source: RFC 7239 §4 and §5, the de-facto X-Forwarded-For, -Proto and -Host.
 */
export function resolveOrigin(headers: ForwardingHeaders, peer: string, trusted: TrustedProxies): Origin {
  const standard = headers.forwarded === undefined ? undefined : walk(parseForwarded(headers.forwarded), peer, trusted)
  const customary = headers.xForwardedFor === undefined ? undefined : walk(customaryHops(headers), peer, trusted)
  if (standard !== undefined && customary !== undefined && standard.clientAddress !== customary.clientAddress) {
    throw new BextError("E_REQUEST_INVALID", "Forwarded and X-Forwarded-For name different clients")
  }
  const found = standard ?? customary ?? { clientAddress: peer, scheme: undefined, host: undefined }
  return {
    clientAddress: found.clientAddress,
    scheme: toScheme(found.scheme ?? lastOf(headers.xForwardedProto)),
    host: toHost(found.host ?? lastOf(headers.xForwardedHost)),
  }
}

/** A socket's or header's address in the form everything compares: IPv4-mapped IPv6 as IPv4, no zone. */
export function toAddress(text: string): string {
  if (!text.includes(":")) return text
  const zone = text.indexOf("%")
  const bare = zone === -1 ? text : text.slice(0, zone)
  return isIP(bare) === 6 ? ipaddr.process(bare).toString() : bare
}

function parseRange(text: string): Range {
  const [address = "", bits, ...rest] = text.split("/")
  const kind = isIP(address)
  const most = kind === 4 ? 32 : 128
  if (kind === 0 || rest.length > 0 || (bits !== undefined && (!/^\d{1,3}$/.test(bits) || Number(bits) > most))) {
    throw new BextError(
      "E_CONFIG_INVALID",
      `server.trusted_proxies has ${JSON.stringify(text)}; expected an address or a range such as "10.0.0.0/8"`,
    )
  }
  return [ipaddr.parse(address), bits === undefined ? most : Number(bits)]
}

function walk(hops: readonly Hop[], peer: string, trusted: TrustedProxies) {
  let clientAddress = peer
  let scheme: string | undefined
  let host: string | undefined
  for (let at = hops.length - 1; at >= 0; at--) {
    const hop = hops[at]!
    scheme = hop.scheme ?? scheme
    host = hop.host ?? host
    // A hidden hop ends what can be known: the nearest proxy that is known stands for everything behind it.
    if (hop.address === undefined) break
    clientAddress = parseNode(hop.address)
    if (!trusted.has(clientAddress)) break
  }
  return { clientAddress, scheme, host }
}

function customaryHops(headers: ForwardingHeaders): Hop[] {
  const addresses = headers.xForwardedFor!.split(",")
  const schemes = headers.xForwardedProto?.split(",") ?? []
  const hosts = headers.xForwardedHost?.split(",") ?? []
  // Lists of equal length were written hop by hop; any other list says nothing about single hops.
  const aligned = <T>(list: T[], at: number) => (list.length === addresses.length ? list[at] : undefined)
  return addresses.map((address, at) => ({
    address: address.trim(),
    scheme: aligned(schemes, at)?.trim(),
    host: aligned(hosts, at)?.trim(),
  }))
}

function parseForwarded(text: string): Hop[] {
  // token=value pairs, ";" inside an element, "," between elements; values are tokens or quoted strings.
  const pair =
    /(?:[ \t]*([!#$%&'*+\-.^_`|~0-9A-Za-z]+)=(?:([!#$%&'*+\-.^_`|~0-9A-Za-z:[\]]+)|"((?:[^"\\]|\\.)*)"))?[ \t]*(;|,|$)/y
  const hops: Hop[] = []
  let fields = new Map<string, string>()
  for (;;) {
    const match = pair.exec(text)
    if (match === null) throw new BextError("E_REQUEST_INVALID", "the Forwarded header is malformed")
    const [, name, token, quoted, separator] = match
    if (name !== undefined) {
      const key = name.toLowerCase()
      if (fields.has(key)) throw new BextError("E_REQUEST_INVALID", "the Forwarded header repeats a parameter")
      fields.set(key, token ?? quoted!.replace(/\\(.)/g, "$1"))
    }
    if (separator === ";") continue
    if (fields.size > 0) hops.push(toHop(fields))
    if (separator === "") return hops
    fields = new Map()
  }
}

function toHop(fields: ReadonlyMap<string, string>): Hop {
  const node = fields.get("for")
  const hidden = node === undefined || node.toLowerCase() === "unknown" || node.startsWith("_")
  return { address: hidden ? undefined : node, scheme: fields.get("proto"), host: fields.get("host") }
}

/** "192.0.2.1", "192.0.2.1:80", "[2001:db8::1]", "[2001:db8::1]:80" or, in X-Forwarded-For, "2001:db8::1". */
function parseNode(text: string): string {
  if (isIP(text) !== 0) return toAddress(text)
  const match = /^(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+))(?::(?:\d{1,5}|_[A-Za-z0-9._-]+))?$/.exec(text)
  const address = match?.[1] ?? match?.[2] ?? ""
  if (isIP(address) === 0)
    throw new BextError("E_REQUEST_INVALID", "a forwarding header names something not an address")
  return toAddress(address)
}

function toScheme(text: string | undefined): "http" | "https" | undefined {
  if (text === undefined) return undefined
  const scheme = text.toLowerCase()
  if (scheme === "http" || scheme === "https") return scheme
  throw new BextError("E_REQUEST_INVALID", "a forwarding header names a scheme that is not http or https")
}

function toHost(text: string | undefined): string | undefined {
  return text === undefined ? undefined : parseAuthority(text)
}

function lastOf(list: string | undefined): string | undefined {
  return list?.split(",").at(-1)?.trim()
}
