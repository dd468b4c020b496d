import { networkInterfaces } from "node:os"

/** The addresses this server listens on, so that a guest's fetch can never reach them. */
export class OwnListeners {
  readonly #bound: { readonly address: string; readonly port: number }[] = []

  add(address: string, port: number): void {
    this.#bound.push({ address, port })
  }

  /** @param address - Canonical IP text. A wildcard listener is reached by every address of this machine. */
  has(address: string, port: number): boolean {
    return this.#bound.some(
      (bound) =>
        bound.port === port && (bound.address === address || (isWildcard(bound.address) && isThisMachine(address))),
    )
  }
}

function isWildcard(address: string): boolean {
  return address === "0.0.0.0" || address === "::"
}

function isThisMachine(address: string): boolean {
  if (isWildcard(address) || address.startsWith("127.")) return true
  return Object.values(networkInterfaces()).some((list) => list?.some((entry) => entry.address === address))
}
