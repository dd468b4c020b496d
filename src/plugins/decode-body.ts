import { promisify } from "node:util"
import zlib from "node:zlib"

/** Codings one body may carry on top of each other. */
const MAX_CODINGS = 3

interface DecodeOptions {
  readonly maxOutputLength: number
}
type Decode = (bytes: Uint8Array, options: DecodeOptions) => Promise<Uint8Array>

/** Source: RFC 9110 §8.4.1, RFC 7932 (br), RFC 8878 (zstd). */
const DECODERS = new Map<string, Decode>([
  ["gzip", promisify<Uint8Array, DecodeOptions, Uint8Array>(zlib.gunzip)],
  ["x-gzip", promisify<Uint8Array, DecodeOptions, Uint8Array>(zlib.gunzip)],
  ["deflate", promisify<Uint8Array, DecodeOptions, Uint8Array>(zlib.inflate)],
  ["br", promisify<Uint8Array, DecodeOptions, Uint8Array>(zlib.brotliDecompress)],
  ["zstd", promisify<Uint8Array, DecodeOptions, Uint8Array>(zlib.zstdDecompress)],
])

/**
 * Removes the content codings of a body, last applied first.
 * @param codings - Value of Content-Encoding.
 * @returns undefined when a coding is unknown, the bytes are not what it says, or they grow past `maxBytes`.
 */
export async function decodeBody(
  bytes: Uint8Array,
  codings: string,
  maxBytes: number,
): Promise<Uint8Array | undefined> {
  const names = toCodings(codings)
  if (names.length > MAX_CODINGS) return undefined
  let decoded = bytes
  for (const name of names.reverse()) {
    const decode = DECODERS.get(name)
    if (decode === undefined) return undefined
    try {
      decoded = await decode(decoded, { maxOutputLength: maxBytes })
    } catch {
      return undefined
    }
  }
  return decoded
}

/** The codings a Content-Encoding value names, "identity" left out. */
export function toCodings(value: string): string[] {
  const names = value.split(",").map((name) => name.trim().toLowerCase())
  return names.filter((name) => name !== "" && name !== "identity")
}
