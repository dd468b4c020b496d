import { createHmac, generateKeyPairSync, type KeyObject, sign } from "node:crypto"
import { exportJWK, type JWK } from "jose"

export const NOW_MS = 1_800_000_000_000
export const NOW = NOW_MS / 1000
export const SECRET = "correct horse battery staple, and then some more of it for HS512!"

export interface Pair {
  readonly publicKey: KeyObject
  readonly privateKey: KeyObject
}

export const rsa: Pair = generateKeyPairSync("rsa", { modulusLength: 2048 })
export const otherRsa: Pair = generateKeyPairSync("rsa", { modulusLength: 2048 })
export const p256: Pair = generateKeyPairSync("ec", { namedCurve: "P-256" })
export const p384: Pair = generateKeyPairSync("ec", { namedCurve: "P-384" })
export const p521: Pair = generateKeyPairSync("ec", { namedCurve: "P-521" })
export const ed25519: Pair = generateKeyPairSync("ed25519")

/** Claims of a token that is valid for a minute. */
export function claims(more: object = {}): object {
  return { sub: "ada", exp: NOW + 60, ...more }
}

/** Signs by hand, so that headers and claims can be as wrong as an attacker's. */
export function token(header: object, payload: unknown, signer: (input: string) => Buffer): string {
  const input = `${encode(JSON.stringify(header))}.${encode(typeof payload === "string" ? payload : JSON.stringify(payload))}`
  return `${input}.${signer(input).toString("base64url")}`
}

export function encode(text: string): string {
  return Buffer.from(text).toString("base64url")
}

export function hmac(secret: string | Buffer, bits = 256): (input: string) => Buffer {
  return (input) => createHmac(`sha${bits}`, secret).update(input).digest()
}

export function signer(alg: string, key: KeyObject): (input: string) => Buffer {
  const hash = alg === "EdDSA" ? null : `sha${alg.slice(2)}`
  const saltLength = Number(alg.slice(2)) / 8
  const options = alg.startsWith("PS") ? { key, padding: 6, saltLength } : { key, dsaEncoding: "ieee-p1363" as const }
  return (input) => sign(hash, Buffer.from(input), options)
}

export function hs256(payload: unknown = claims(), header: object = {}): string {
  return token({ alg: "HS256", typ: "JWT", ...header }, payload, hmac(SECRET))
}

export function signed(alg: string, pair: Pair, header: object = {}, payload: unknown = claims()): string {
  return token({ alg, ...header }, payload, signer(alg, pair.privateKey))
}

export function pem(pair: Pair): string {
  return pair.publicKey.export({ type: "spki", format: "pem" }) as string
}

export async function jwk(pair: Pair, more: object = {}): Promise<JWK> {
  return { ...(await exportJWK(pair.publicKey)), ...more }
}
