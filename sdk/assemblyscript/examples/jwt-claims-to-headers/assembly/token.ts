import { equalSecrets, fromBase64url, getConfig, hmacSha256, Json, now, parseJson, toBytes, toText } from "./bext"

const issuer = getConfig("issuer")
const audience = getConfig("audience")
const leewaySeconds = F64.parseFloat(getConfig("leeway_seconds")!)

/** The claims of a token that the key has signed; null: it is none. Source: RFC 7515 §5.2. */
export function verify(token: string, key: Uint8Array): Json | null {
  const parts = token.split(".")
  if (parts.length !== 3) return null
  const header = decode(parts[0])
  if (header === null || header.get("crit") !== null) return null
  const algorithm = header.get("alg")
  if (algorithm === null || !algorithm.isText("HS256")) return null
  const signature = fromBase64url(parts[2])
  if (signature === null) return null
  if (!equalSecrets(signature, hmacSha256(key, toBytes(`${parts[0]}.${parts[1]}`)))) return null
  return decode(parts[1])
}

/** Source: RFC 7519 §4.1.4 and §4.1.5. */
export function isCurrent(claims: Json): bool {
  const seconds = <f64>(now() / 1000)
  const expires = claims.get("exp")
  if (expires === null || expires.kind !== "number" || seconds >= expires.number + leewaySeconds) return false
  const begins = claims.get("nbf")
  return begins === null || (begins.kind === "number" && seconds >= begins.number - leewaySeconds)
}

/** Source: RFC 7519 §4.1.1 and §4.1.3. */
export function isMeantForUs(claims: Json): bool {
  if (issuer !== null) {
    const claim = claims.get("iss")
    if (claim === null || !claim.isText(issuer!)) return false
  }
  if (audience === null) return true
  const claim = claims.get("aud")
  if (claim === null) return false
  if (claim.isText(audience!)) return true
  for (let i = 0; i < claim.items.length; i++) {
    if (claim.items[i].isText(audience!)) return true
  }
  return false
}

function decode(part: string): Json | null {
  const bytes = fromBase64url(part)
  if (bytes === null) return null
  const json = parseJson(toText(bytes))
  return json !== null && json.kind === "object" ? json : null
}
