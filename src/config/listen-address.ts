import { isIP } from "node:net"

/** Where a server listens. `host` undefined: every address of the machine. */
export interface ListenAddress {
  readonly host: string | undefined
  /** 0 to 65535; 0 lets the system choose a free one. */
  readonly port: number
}

/** @param text - "ADDRESS:PORT", "NAME:PORT", "[IPv6]:PORT" or ":PORT". @returns undefined when it is none of them. */
export function parseListenAddress(text: string): ListenAddress | undefined {
  const [, bracketed, plain, digits] = /^(?:\[([^\]]*)\]|([^:[\]]*)):(\d{1,5})$/.exec(text) ?? []
  const port = Number(digits)
  if (digits === undefined || port > 65_535) return undefined
  if (bracketed !== undefined) return isIP(bracketed) === 6 ? { host: bracketed, port } : undefined
  if (plain === "") return { host: undefined, port }
  return isHost(plain!) ? { host: plain, port } : undefined
}

export function formatListenAddress({ host, port }: ListenAddress): string {
  if (host === undefined) return `:${port}`
  return isIP(host) === 6 ? `[${host}]:${port}` : `${host}:${port}`
}

/** An IPv4 address, or a host name (RFC 1123 §2.1). A name of digits and dots only is a mistyped address. */
function isHost(host: string): boolean {
  if (isIP(host) === 4) return true
  if (/^[\d.]+$/.test(host) || host.length > 253) return false
  return host.split(".").every((label) => /^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$/.test(label))
}
