import { createPublicKey, type KeyObject } from "node:crypto"
import { readFileSync } from "node:fs"
import { readFile } from "node:fs/promises"
import { BextError } from "../errors.ts"
import type { AuthConfig } from "./auth.ts"
import { fetchKeySet } from "./fetch-key-set.ts"
import { KeySet } from "./key-set.ts"

export interface VerificationKeyDeps {
  readonly secret: string | undefined
  readonly now: () => number
  readonly warn: (message: string) => void
}

/** What tokens are checked with: the bytes of a secret, one public key, or a set of them that changes. */
export type VerificationKey = Uint8Array | KeyObject | KeySet

/**
 * The key that the configuration names. Secrets go with HS algorithms and public keys with the others, which the
 * configuration's door has checked, so a public key is never used as a secret.
 * @throws {BextError} `E_CONFIG_INVALID`, `E_FILE_UNREADABLE`.
 */
export function createVerificationKey(config: AuthConfig, deps: VerificationKeyDeps): VerificationKey {
  if (config.secret !== undefined) return toSecretKey(config, deps.secret ?? "")
  if (config.key_file !== undefined) return toPublicKey(config, config.key_file)
  if (config.jwks_file !== undefined) return createFileKeySet(config.jwks_file, deps)
  const url = config.jwks_url!
  return new KeySet({ ...deps, load: () => fetchKeySet(url), freshMs: 600_000, cooldownMs: 30_000 })
}

/** A secret is at least as long as the hash. Source: RFC 7518 §3.2. */
function toSecretKey(config: AuthConfig, secret: string): Uint8Array {
  const key = new TextEncoder().encode(secret)
  const bytes = Math.max(...config.algorithms.map((name) => Number(name.slice(2)) / 8))
  if (key.length < bytes) throw invalid("secret", `${config.algorithms.join(", ")} need at least ${bytes} bytes`)
  if (secret.includes("-----BEGIN ")) throw invalid("secret", "this is a PEM key, which is no secret: use key_file")
  return key
}

function toPublicKey(config: AuthConfig, file: string): KeyObject {
  const pem = readText("key_file", file)
  if (pem.includes("PRIVATE KEY-----"))
    throw invalid("key_file", `${file} has a private key; only the public one is needed`)
  const key = parsePem(file, pem)
  for (const algorithm of config.algorithms) {
    if (!suits(key, algorithm)) {
      throw invalid("algorithms", `${algorithm} cannot use the key in ${file} (${describe(key)})`)
    }
  }
  return key
}

function parsePem(file: string, pem: string): KeyObject {
  try {
    return createPublicKey(pem)
  } catch (cause) {
    throw invalid("key_file", `${file} has no public key or certificate in PEM form`, cause)
  }
}

/** Source: RFC 7518 §3.3 to §3.5, RFC 8037 §3.1. */
function suits(key: KeyObject, algorithm: string): boolean {
  const { modulusLength = 0, namedCurve } = key.asymmetricKeyDetails ?? {}
  switch (algorithm) {
    case "ES256":
      return namedCurve === "prime256v1"
    case "ES384":
      return namedCurve === "secp384r1"
    case "ES512":
      return namedCurve === "secp521r1"
    case "EdDSA":
      return key.asymmetricKeyType === "ed25519"
    default:
      return key.asymmetricKeyType === "rsa" && modulusLength >= 2048
  }
}

function describe(key: KeyObject): string {
  const { modulusLength, namedCurve } = key.asymmetricKeyDetails ?? {}
  return [key.asymmetricKeyType, modulusLength, namedCurve].filter(Boolean).join(" ")
}

/** A file is small and its time stamps are coarse, so while requests come it is simply read again every second. */
function createFileKeySet(file: string, deps: VerificationKeyDeps): KeySet {
  const keys = new KeySet({ ...deps, load: () => readFile(file, "utf8"), freshMs: 1_000, cooldownMs: 1_000 })
  const text = readText("jwks_file", file)
  try {
    keys.replace(text)
  } catch (cause) {
    throw invalid("jwks_file", `${file} is not a JSON Web Key Set`, cause)
  }
  return keys
}

function readText(key: string, file: string): string {
  try {
    return readFileSync(file, "utf8")
  } catch (cause) {
    throw new BextError("E_FILE_UNREADABLE", `middleware.auth.${key}: ${file}`, { cause })
  }
}

function invalid(key: string, what: string, cause?: unknown): BextError {
  return new BextError("E_CONFIG_INVALID", `middleware.auth.${key}: ${what}`, { cause })
}
