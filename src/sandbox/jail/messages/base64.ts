/** @returns null when it is not base64 with padding, as RFC 4648 §4 has it. */
export function fromBase64(text: string): Buffer | null {
  const bytes = Buffer.from(text, "base64")
  // Node passes over what is not base64.
  return bytes.toString("base64") === text ? bytes : null
}

export function toBase64(bytes: Uint8Array): string {
  return toBuffer(bytes).toString("base64")
}

/** The same memory. */
export function toBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
