import type { AddressInfo, Server } from "node:net"
import { parseListenAddress } from "../config/listen-address.ts"
import { BextError } from "../errors.ts"

/** Where a server listens. */
export interface Bound {
  /** What a person can open. */
  readonly url: string
  readonly address: string
  /** The real one when 0 was asked for. */
  readonly port: number
}

/**
 * Opens the port.
 * @param listen - `server.listen`
 * @throws {BextError} `E_PORT_IN_USE`, `E_CONFIG_INVALID`.
 */
export async function listenOn(server: Server, listen: string): Promise<Bound> {
  const where = parseListenAddress(listen)
  if (where === undefined) throw new BextError("E_CONFIG_INVALID", `server.listen: ${listen} is not an address`)
  await new Promise<void>((resolve, reject) => {
    const fail = (cause: Error) => reject(toListenError(listen, cause))
    server.once("error", fail)
    server.listen({ port: where.port, host: where.host }, () => {
      server.off("error", fail)
      resolve()
    })
  })
  const { address, port } = server.address() as AddressInfo
  return toBound(address, port)
}

/** A wildcard address becomes the loopback in the URL. */
export function toBound(address: string, port: number): Bound {
  const host = address === "::" || address === "0.0.0.0" ? "127.0.0.1" : address
  return { url: `http://${host.includes(":") ? `[${host}]` : host}:${port}`, address, port }
}

function toListenError(listen: string, cause: NodeJS.ErrnoException): BextError {
  if (cause.code === "EADDRINUSE") {
    return new BextError("E_PORT_IN_USE", `${listen} is in use by another program`, {
      cause,
    })
  }
  return new BextError("E_CONFIG_INVALID", `server.listen: cannot listen on ${listen} (${cause.code})`, { cause })
}
