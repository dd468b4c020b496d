import type { GuestFetchRequest } from "../../../host/services.ts"
import type { Json } from "../../sandbox.ts"

const METHOD = /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}$/
const FIELDS: readonly string[] = ["url", "method", "headers", "body", "body_base64", "redirect"]
const REDIRECTS = ["follow", "manual", "error"] as const

/**
 * What a guest asks to fetch.
 * @param mistake - Makes what is thrown.
 */
export function toFetchRequest(request: Json, mistake: (what: string) => Error): GuestFetchRequest {
  if (!isObject(request)) throw mistake("the request is not an object")
  const unknown = Object.keys(request).find((name) => !FIELDS.includes(name))
  if (unknown !== undefined) {
    throw mistake(`unknown field ${JSON.stringify(unknown.slice(0, 64))}; there are ${FIELDS.join(", ")}`)
  }
  const { url, method = "GET", headers = [], redirect = "follow" } = request
  if (typeof url !== "string") throw mistake("url is not a text")
  if (typeof method !== "string" || !METHOD.test(method)) throw mistake("method is not the name of one")
  if (!isPairs(headers)) throw mistake("headers is not a list of pairs of texts")
  const follow = REDIRECTS.find((word) => word === redirect)
  if (follow === undefined) throw mistake(`redirect is none of ${REDIRECTS.join(", ")}`)
  return { url, method: method.toUpperCase(), headers, body: toBody(request, mistake), redirect: follow }
}

type Fields = { readonly [name: string]: Json }

function isObject(value: Json): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value)
}

function isPairs(value: Json): value is readonly (readonly [string, string])[] {
  return (
    Array.isArray(value) &&
    value.every(
      (pair) => Array.isArray(pair) && pair.length === 2 && typeof pair[0] === "string" && typeof pair[1] === "string",
    )
  )
}

function toBody({ body = null, body_base64: base64 = null }: Fields, mistake: (what: string) => Error) {
  if (body !== null && base64 !== null) throw mistake("there are both body and body_base64")
  if (base64 !== null) {
    const bytes = typeof base64 === "string" ? Buffer.from(base64, "base64") : null
    // Node passes over what is not base64.
    if (bytes?.toString("base64") !== base64) throw mistake("body_base64 is not base64 with padding")
    return bytes
  }
  if (body !== null && typeof body !== "string") throw mistake("body is not a text")
  return body === null ? null : Buffer.from(body)
}
