import { isIP } from "node:net"
import ipaddr from "ipaddr.js"

export interface AddressGuardOptions {
  /** Exact "ADDRESS:PORT" pairs ("[ADDRESS]:PORT" for IPv6) that may be reached although they are private. */
  readonly allowPrivate: readonly string[]
  /** Whether this server itself listens there; `address` in canonical text. */
  readonly isOwnListener: (address: string, port: number) => boolean
}

/** Instance metadata that lives in a public range: Azure's wire server. The others are link-local or private. */
const METADATA = new Set(["168.63.129.16"])
/** Global unicast (RFC 4291 §2.4): outside of it an IPv6 address is special in one way or another. */
const GLOBAL_UNICAST = ipaddr.IPv6.parseCIDR("2000::/3")
/** Documentation (RFC 9637). */
const DOCUMENTATION = ipaddr.IPv6.parseCIDR("3fff::/20")

/** Decides which addresses a guest's connection may be made to. */
export class AddressGuard {
  readonly #allowed: ReadonlySet<string>
  readonly #isOwnListener: AddressGuardOptions["isOwnListener"]

  /** @throws {TypeError} When an entry of `allowPrivate` is not an exact address and port. */
  constructor({ allowPrivate, isOwnListener }: AddressGuardOptions) {
    this.#allowed = new Set(allowPrivate.map(parseEndpoint))
    this.#isOwnListener = isOwnListener
  }

  /**
   * @param address - As a resolver gave it or a URL spells it; anything that is no address is refused.
   * @returns why a connection must not be made, undefined when it may. Only public unicast addresses may be reached
   *   (IANA special-purpose registries, RFC 6890), and what the operator allowed; this server itself never.
   */
  refusal(address: string, port: number): string | undefined {
    const canonical = canonicalAddress(address)
    if (canonical === undefined) return "not an address"
    if (this.#isOwnListener(canonical, port)) return "this server itself"
    if (this.#allowed.has(`${canonical} ${port}`)) return undefined
    return specialRange(canonical)
  }
}

/** Lower case and shortest form; IPv4 inside IPv6 (`::ffff:a.b.c.d`) as IPv4. Undefined: not an address, or with a zone. */
function canonicalAddress(address: string): string | undefined {
  if (isIP(address) === 0 || address.includes("%")) return undefined
  return ipaddr.process(address).toString()
}

function specialRange(address: string): string | undefined {
  if (METADATA.has(address)) return "instance metadata"
  const parsed = ipaddr.parse(address)
  const range = parsed.range()
  if (range !== "unicast") return range
  if (!(parsed instanceof ipaddr.IPv6)) return undefined
  if (!parsed.match(GLOBAL_UNICAST)) return "not global unicast"
  return parsed.match(DOCUMENTATION) ? "documentation" : undefined
}

function parseEndpoint(text: string): string {
  const [, bracketed, plain, digits] = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text) ?? []
  const address = canonicalAddress(bracketed ?? plain ?? "")
  const port = Number(digits)
  if (address !== undefined && port >= 1 && port <= 65_535) return `${address} ${port}`
  throw new TypeError(`${JSON.stringify(text)} is not ADDRESS:PORT or [IPv6]:PORT`)
}
