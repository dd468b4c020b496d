import { METHODS } from "node:http"

/**
 * What a request may be changed to: what a client could have sent, so that nobody behind a plugin meets a method that the
 * parser would have kept out. CONNECT and TRACE have no place behind this server (RFC 9110 §9.3.6, §9.3.8).
 */
const SETTABLE = new Set(METHODS.filter((method) => method !== "CONNECT" && method !== "TRACE"))

/**
 * Says what keeps a request from being changed to `method`.
 * @returns undefined when nothing does.
 */
export function findMethodFault(method: string, clientMethod: string, upgrade: string | null): string | undefined {
  if (!SETTABLE.has(method)) return "is none that a request can be changed to"
  if (upgrade !== null) return `is not for a request that asks for a ${upgrade}`
  // A stored response without content, but with the validators of one that has some, would stand for that one.
  if (method === "HEAD" && clientMethod !== "HEAD") return "leaves a client without the content it asked for"
  return undefined
}
