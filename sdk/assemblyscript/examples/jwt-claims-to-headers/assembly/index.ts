// Lets requests with a valid token (JWT, RFC 7519, signed with HS256) through and tells the app about its claims.
import { CONTINUE, Field, fail, getConfig, getSecret, Json, parseJson, refusal, request, toBytes } from "./bext"
import { isCurrent, isMeantForUs, verify } from "./token"

export { bext_alloc } from "./bext"

const MAX_CLAIM_BYTES = 1024
/** Source: RFC 7518 §3.2. */
const MIN_SECRET_BYTES = 32

const claimNames = parseJson(getConfig("claims")!)!.items
const headerPrefix = getConfig("header_prefix")!

export function on_request(): i32 {
  const removed = removeForgedHeaders()
  if (removed < 0) return removed
  const secret = getSecret("JWT_SECRET")
  if (secret === null) return refusal()
  const key = toBytes(secret)
  if (key.length < MIN_SECRET_BYTES) return fail("JWT_SECRET has less than 32 bytes")
  const authorization = request.headers.get("authorization")
  if (authorization === null) return refuse("Bearer", "a token is needed\n")
  const claims = verify(bearer(authorization), key)
  if (claims === null || !isCurrent(claims) || !isMeantForUs(claims)) {
    return refuse('Bearer error="invalid_token"', "the token is not valid\n")
  }
  return tellApp(claims)
}

/** Nobody but a token may say who the user is. */
function removeForgedHeaders(): i32 {
  const headers = request.headers.all()
  for (let i = 0; i < headers.length; i++) {
    if (!headers[i].name.startsWith(headerPrefix)) continue
    const removed = request.headers.remove(headers[i].name)
    if (removed < 0) return removed
  }
  return CONTINUE
}

/** The token of an Authorization header, "" when there is none. Source: RFC 6750 §2.1. */
function bearer(authorization: string): string {
  if (authorization.substring(0, 7).toLowerCase() !== "bearer ") return ""
  return authorization.substring(7).trimStart()
}

function refuse(challenge: string, text: string): i32 {
  return request.respondText(401, text, [
    new Field("www-authenticate", challenge),
    new Field("cache-control", "no-store"),
  ])
}

/** Sets a header for each claim that a header can hold. */
function tellApp(claims: Json): i32 {
  for (let i = 0; i < claimNames.length; i++) {
    const name = claimNames[i].text
    const claim = claims.get(name)
    if (claim === null || !isPlain(claim)) continue
    const set = request.headers.set(headerPrefix + name.toLowerCase().replaceAll("_", "-"), claim.text)
    if (set < 0) return set
  }
  return CONTINUE
}

/** Whether a header can hold the claim as it is: visible ASCII with single spaces between. */
function isPlain(claim: Json): bool {
  const text = claim.text
  if (claim.kind !== "string" && claim.kind !== "number" && claim.kind !== "boolean") return false
  if (text.length === 0 || text.length > MAX_CLAIM_BYTES) return false
  let before = 0x20
  for (let i = 0; i < text.length; i++) {
    const character = text.charCodeAt(i)
    if (character < 0x20 || character > 0x7e || (character === 0x20 && before === 0x20)) return false
    before = character
  }
  return before !== 0x20
}
