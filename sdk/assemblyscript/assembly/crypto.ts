// Computed by the host.
import * as host from "./bext"

export function sha256(bytes: Uint8Array): Uint8Array {
  const digest = new Uint8Array(32)
  host.sha256(bytes.dataStart, bytes.length, digest.dataStart)
  return digest
}

export function hmacSha256(key: Uint8Array, bytes: Uint8Array): Uint8Array {
  const mac = new Uint8Array(32)
  host.hmac_sha256(key.dataStart, key.length, bytes.dataStart, bytes.length, mac.dataStart)
  return mac
}

/** Whether the signature (64 bytes) of the message is the key's (32 bytes). */
export function ed25519Verify(publicKey: Uint8Array, signature: Uint8Array, message: Uint8Array): bool {
  if (publicKey.length !== 32 || signature.length !== 64) return false
  return host.ed25519_verify(publicKey.dataStart, signature.dataStart, message.dataStart, message.length) === 1
}

/** Compares without telling by its time where they differ. */
export function equalSecrets(a: Uint8Array, b: Uint8Array): bool {
  if (a.length !== b.length) return false
  let difference: u8 = 0
  for (let i = 0; i < a.length; i++) difference |= a[i] ^ b[i]
  return difference === 0
}
