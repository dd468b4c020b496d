import { lookup } from "node:dns/promises"
import { isIP } from "node:net"
import { Agent, buildConnector } from "undici"
import { BextError } from "../errors.ts"
import type { AddressGuard } from "./address-guard.ts"
import { limitConcurrency } from "./limit-concurrency.ts"

/** Every address of a name. Rejects as `dns.lookup` does. */
export type Resolve = (hostname: string) => Promise<readonly string[]>

const CONNECT_TIMEOUT_MS = 5_000
/** Addresses of one name that are tried before giving up. */
const MAX_ATTEMPTS = 3
/** Look-ups block threads of a pool of four that files and compression need too; slow name servers must leave some free. */
const LOOKUPS = { running: 2, waiting: 256 }
const MAX_RESPONSE_HEADER_BYTES = 16_384
const MAX_CONNECTIONS_PER_ORIGIN = 32

/**
 * Connections for guests. A name is resolved once per connection, every address it has is checked, and a checked address
 * is what is dialled: there is no second look-up that could answer differently. Knows no proxy and no environment.
 */
export function createFetchTransport(guard: AddressGuard, resolve: Resolve = resolveWithSystem): Agent {
  const resolveInTurn = limitConcurrency(resolve, LOOKUPS)
  const dial = buildConnector({ timeout: CONNECT_TIMEOUT_MS, allowH2: false })
  return new Agent({
    connect: (options, callback) => {
      inTime(connectChecked(options, dial, guard, resolveInTurn)).then(
        (socket) => callback(null, socket),
        (error: Error) => callback(error, null),
      )
    },
    allowH2: false,
    pipelining: 1,
    connections: MAX_CONNECTIONS_PER_ORIGIN,
    maxHeaderSize: MAX_RESPONSE_HEADER_BYTES,
  })
}

type Socket = Parameters<buildConnector.Callback>[1]

/** Bounds the look-up and all attempts together. A connection that comes too late is closed. */
function inTime(connecting: Promise<NonNullable<Socket>>): Promise<NonNullable<Socket>> {
  const { promise, resolve, reject } = Promise.withResolvers<NonNullable<Socket>>()
  const timer = setTimeout(() => {
    reject(Object.assign(new Error(`not connected after ${CONNECT_TIMEOUT_MS} ms`), { code: "ETIMEDOUT" }))
    connecting.then((socket) => socket.destroy()).catch(() => {})
  }, CONNECT_TIMEOUT_MS).unref()
  connecting.then(resolve, reject).finally(() => clearTimeout(timer))
  return promise
}

async function connectChecked(
  options: buildConnector.Options,
  dial: buildConnector.connector,
  guard: AddressGuard,
  resolve: Resolve,
): Promise<NonNullable<Socket>> {
  const hostname = options.hostname.replace(/^\[(.*)\]$/, "$1")
  const port = Number(options.port) || (options.protocol === "https:" ? 443 : 80)
  const addresses = isIP(hostname) === 0 ? await resolve(hostname) : [hostname]
  // One bad address is enough: a name that also leads inside is a name that must not be used.
  for (const address of addresses) {
    const refusal = guard.refusal(address, port)
    if (refusal === undefined) continue
    // The address stays out of the message: a guest must not map a network by asking for names.
    const cause = new Error(`${address} port ${port}: ${refusal}`)
    throw new BextError("E_FETCH_FORBIDDEN", `${hostname} leads to an address plugins may not reach`, { cause })
  }
  let failure: unknown = new Error(`${hostname} has no address`)
  for (const address of addresses.slice(0, MAX_ATTEMPTS)) {
    try {
      return await dialAddress(dial, options, address, hostname)
    } catch (error) {
      failure = error
    }
  }
  throw failure
}

function dialAddress(
  dial: buildConnector.connector,
  options: buildConnector.Options,
  address: string,
  hostname: string,
): Promise<NonNullable<Socket>> {
  const { promise, resolve, reject } = Promise.withResolvers<NonNullable<Socket>>()
  // The certificate is checked against the name, not the address.
  const servername = options.protocol === "https:" && isIP(hostname) === 0 ? { servername: hostname } : {}
  const { protocol, port, localAddress } = options
  const target = {
    hostname: address,
    host: hostname,
    protocol,
    port,
    localAddress: localAddress ?? null,
    ...servername,
  }
  dial(target, (error, socket) => (error === null ? resolve(socket!) : reject(error)))
  return promise
}

async function resolveWithSystem(hostname: string): Promise<string[]> {
  const found = await lookup(hostname, { all: true })
  return found.map(({ address }) => address)
}
