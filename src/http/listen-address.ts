import { isIP } from "node:net"
import { BextError } from "../errors.ts"

export interface ListenAddress {
  /** undefined: every address of the machine. */
  readonly host: string | undefined
  /** 0: any free port. */
  readonly port: number
}

/**
 * Reads `server.listen`: "ADDRESS:PORT", "[IPv6]:PORT" or ":PORT".
 * @throws {BextError} `E_CONFIG_INVALID`.
 */
export function parseListenAddress(text: string): ListenAddress {
  const match = /^(?:\[([^\]]+)\]|([^:[\]]*)):(\d{1,5})$/.exec(text)
  const port = Number(match?.[3])
  const host = match?.[1] ?? match?.[2]
  const bracketsFit = match?.[1] === undefined || isIP(match[1]) === 6
  if (match === null || port > 65_535 || !bracketsFit) {
    throw new BextError(
      "E_CONFIG_INVALID",
      `server.listen is ${JSON.stringify(text)}; expected "ADDRESS:PORT", "[IPv6]:PORT" or ":PORT"`,
    )
  }
  return { host: host === "" ? undefined : host, port }
}

/** The URL a person can open for a socket that listens on `address` (wildcard addresses become the loopback). */
export function toUrl(address: string, port: number): string {
  const host = address === "::" || address === "0.0.0.0" ? "127.0.0.1" : address
  return `http://${host.includes(":") ? `[${host}]` : host}:${port}`
}
