import { toUtf8 } from "./memory"

/** The UTF-8 of a text. */
export function toBytes(text: string): Uint8Array {
  return Uint8Array.wrap(toUtf8(text))
}

/** A text of UTF-8; what is not becomes U+FFFD. */
export function toText(bytes: Uint8Array): string {
  return String.UTF8.decodeUnsafe(bytes.dataStart, bytes.length)
}

const BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
const BASE64URL = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

/** Source: RFC 4648 §4, with padding. */
export function toBase64(bytes: Uint8Array): string {
  const text = encode(bytes, BASE64)
  return text + "=".repeat((4 - (text.length & 3)) & 3)
}

/** Source: RFC 4648 §5, without padding. */
export function toBase64url(bytes: Uint8Array): string {
  return encode(bytes, BASE64URL)
}

/** @returns null: it is not base64url without padding. */
export function fromBase64url(text: string): Uint8Array | null {
  if ((text.length & 3) === 1) return null
  const bytes = new Uint8Array((text.length * 3) >> 2)
  let bits: u32 = 0
  let count = 0
  let next = 0
  for (let i = 0; i < text.length; i++) {
    const digit = BASE64URL.indexOf(text.charAt(i))
    if (digit < 0) return null
    bits = (bits << 6) | digit
    count += 6
    if (count < 8) continue
    count -= 8
    bytes[next++] = <u8>(bits >> count)
  }
  // What is left over must be 0, or two texts would be the same bytes.
  return (bits & ((1 << count) - 1)) === 0 ? bytes : null
}

/** @returns null: it is not pairs of hexadecimal digits. */
export function fromHex(text: string): Uint8Array | null {
  if ((text.length & 1) !== 0) return null
  const bytes = new Uint8Array(text.length >> 1)
  for (let i = 0; i < text.length; i++) {
    const digit = hexDigit(text.charCodeAt(i))
    if (digit < 0) return null
    bytes[i >> 1] = <u8>((bytes[i >> 1] << 4) | digit)
  }
  return bytes
}

/** -1: it is none. */
export function hexDigit(character: i32): i32 {
  if (character >= 0x30 && character <= 0x39) return character - 0x30
  const lower = character | 0x20
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x61 + 10 : -1
}

function encode(bytes: Uint8Array, digits: string): string {
  let text = ""
  for (let i = 0; i < bytes.length; i += 3) {
    const left = min(3, bytes.length - i)
    let bits: u32 = 0
    for (let j = 0; j < 3; j++) bits = (bits << 8) | (j < left ? bytes[i + j] : 0)
    for (let j = 0; j <= left; j++) text += digits.charAt((bits >> (18 - 6 * j)) & 63)
  }
  return text
}
