import { createHash, hkdfSync } from "node:crypto"
import { CompactEncrypt, compactDecrypt, errors } from "jose"
import { BextError } from "../errors.ts"
import type { User } from "../message/request-context.ts"
import { deepFreeze } from "./deep-freeze.ts"

/** What a session cookie says. Times are epoch milliseconds. */
export interface SealableSession {
  /** Random; never used for a second session. */
  readonly id: string
  readonly user: User
  /** Host name it began on and counts on; "" for all that the cookie's domain covers. */
  readonly host: string
  readonly begunMs: number
  /** It ends then at the latest, whatever the configuration says later. */
  readonly untilMs: number
  /** When this cookie was sealed. */
  readonly renewedMs: number
}

export interface Session extends SealableSession {
  /** What revocations know the user by, on this host and on all. */
  readonly userKeys: readonly string[]
}

/** One key and the only protected header it is ever used with. */
interface SealKey {
  readonly kid: string
  /** Encoded, as it stands at the beginning of a cookie. */
  readonly header: string
  readonly bytes: Uint8Array
}

interface Payload {
  readonly id: string
  readonly sub: string
  readonly claims: Record<string, unknown>
  readonly host: string
  readonly begun: number
  readonly until: number
  readonly renewed: number
}

const MIN_SECRET_BYTES = 32
/** CBC with HMAC, as it has no bound on messages for each key, which random nonces of GCM have (RFC 7518 §5.2.5, §8.4). */
const ENCRYPTION = "A256CBC-HS512"
const KEY_BYTES = 64
const KID_BYTES = 6
/** Header, no wrapped key, initialisation vector of 16 bytes, content, tag of 32 bytes (RFC 7516 §7.1). */
const SEALED = /^[\w-]+\.\.[\w-]{22}\.[\w-]{1,5500}\.[\w-]{43}$/

/**
 * Seals sessions into the text of a cookie and opens them: JSON Web Encryption in compact form (RFC 7516), `dir`, with keys
 * derived from the secrets (RFC 5869). The first secret seals, all open.
 *
 * A text is looked at only if it begins with exactly the header of one of the keys, so nothing in a header (another `alg`,
 * `zip`, `crit`, `jwk`, …) is ever a choice of whoever sent it.
 */
export class SessionSeal {
  readonly #keys = new Map<string, SealKey>()
  readonly #first: SealKey

  /**
   * @param secrets - At least one, each with at least 32 bytes.
   * @param purpose - Two seals with the same secrets and different purposes do not open each other's texts.
   * @throws {BextError} `E_CONFIG_INVALID`.
   */
  constructor(secrets: readonly { readonly name: string; readonly value: string }[], purpose: string) {
    const keys = secrets.map(({ name, value }) => {
      checkLength(name, value)
      return toKey(value, purpose)
    })
    for (const key of keys) this.#keys.set(key.header, key)
    this.#first = keys[0]!
  }

  seal(session: SealableSession): Promise<string> {
    const payload: Payload = {
      id: session.id,
      sub: session.user.id,
      claims: session.user.claims,
      host: session.host,
      begun: session.begunMs,
      until: session.untilMs,
      renewed: session.renewedMs,
    }
    return new CompactEncrypt(Buffer.from(JSON.stringify(payload)))
      .setProtectedHeader({ alg: "dir", enc: ENCRYPTION, kid: this.#first.kid })
      .encrypt(this.#first.bytes)
  }

  /** @returns null for anything that was not sealed with one of the keys. */
  open(text: string): Promise<Session | null> | null {
    const key = this.#keys.get(text.slice(0, text.indexOf(".")))
    return key === undefined || !SEALED.test(text) ? null : decrypt(text, key)
  }
}

/** What revocations know a user by: of one length, whatever the id. @param host - "" for all hosts. */
export function toUserKey(userId: string, host: string): string {
  return createHash("sha256")
    .update(JSON.stringify([userId, host]))
    .digest("base64url")
}

async function decrypt(text: string, key: SealKey): Promise<Session | null> {
  try {
    const { plaintext } = await compactDecrypt(text, key.bytes, {
      keyManagementAlgorithms: ["dir"],
      contentEncryptionAlgorithms: [ENCRYPTION],
      maxDecompressedLength: 0,
    })
    return toSession(JSON.parse(Buffer.from(plaintext).toString()) as Payload)
  } catch (error) {
    if (error instanceof errors.JOSEError) return null
    throw error
  }
}

/** The text is our own: only who has a secret can have made it. The user is shared by all requests with this cookie. */
function toSession({ id, sub, claims, host, begun, until, renewed }: Payload): Session {
  const user = Object.freeze({ id: sub, claims: deepFreeze(claims) })
  const userKeys = [toUserKey(sub, ""), toUserKey(sub, host)]
  return { id, user, userKeys, host, begunMs: begun, untilMs: until, renewedMs: renewed }
}

function checkLength(name: string, secret: string): void {
  const bytes = Buffer.byteLength(secret)
  if (bytes >= MIN_SECRET_BYTES) return
  throw new BextError(
    "E_CONFIG_INVALID",
    `middleware.session.secrets: ${name} has ${bytes} bytes, at least ${MIN_SECRET_BYTES} are needed; ` +
      "`openssl rand -base64 32` makes a good one",
  )
}

function toKey(secret: string, purpose: string): SealKey {
  const derive = (use: string, bytes: number) =>
    Buffer.from(hkdfSync("sha512", secret, "", `bext session 1, ${use}, ${purpose}`, bytes))
  const kid = derive("key id", KID_BYTES).toString("base64url")
  const header = Buffer.from(JSON.stringify({ alg: "dir", enc: ENCRYPTION, kid })).toString("base64url")
  return { kid, header, bytes: derive(ENCRYPTION, KEY_BYTES) }
}
