import { promisify } from "node:util"
import { brotliDecompress, gunzip, inflate, inflateRaw, zstdDecompress } from "node:zlib"

type Decode = (bytes: Uint8Array, options: { maxOutputLength: number }) => Promise<Uint8Array>

/** More layers than anybody needs: each one can multiply the work. */
const MAX_CODINGS = 2

/** Source: RFC 9110 §8.4.1, RFC 7932 (br), RFC 8878 (zstd). */
const DECODERS: ReadonlyMap<string, Decode> = new Map<string, Decode>([
  ["gzip", promisify(gunzip)],
  ["x-gzip", promisify(gunzip)],
  ["deflate", inflateEither],
  ["br", promisify(brotliDecompress)],
  ["zstd", promisify(zstdDecompress)],
])

/** Why a body cannot be decoded; `coding` is a lower-case text that somebody else chose. */
export class DecodeFailure {
  readonly reason: "too-large" | "broken" | "unknown" | "too-many"
  readonly coding: string
  readonly cause: unknown

  constructor(reason: DecodeFailure["reason"], coding: string, cause?: unknown) {
    this.reason = reason
    this.coding = coding
    this.cause = cause
  }
}

/**
 * Removes the content codings of a body, last applied first. No layer may have more than `maxBytes`.
 * @param codings - Value of Content-Encoding.
 */
export async function decodeContent(
  bytes: Uint8Array,
  codings: string,
  maxBytes: number,
): Promise<Uint8Array | DecodeFailure> {
  const layers = toCodings(codings).reverse()
  if (layers.length > MAX_CODINGS) return new DecodeFailure("too-many", codings)
  let decoded = bytes
  for (const coding of layers) {
    const decode = DECODERS.get(coding)
    if (decode === undefined) return new DecodeFailure("unknown", coding)
    try {
      decoded = await decode(decoded, { maxOutputLength: Math.max(maxBytes, 1) })
    } catch (error) {
      const tooLarge = error instanceof Error && "code" in error && error.code === "ERR_BUFFER_TOO_LARGE"
      return new DecodeFailure(tooLarge ? "too-large" : "broken", coding, error)
    }
  }
  return decoded
}

/** The codings a Content-Encoding value names, "identity" left out. */
export function toCodings(value: string): string[] {
  const names = value.split(",").map((name) => name.trim().toLowerCase())
  return names.filter((name) => name !== "" && name !== "identity")
}

/** "deflate" is the zlib format, but some servers send it bare (RFC 9110 §8.4.1.2). */
function inflateEither(bytes: Uint8Array, options: { maxOutputLength: number }): Promise<Uint8Array> {
  return isZlib(bytes) ? promisify(inflate)(bytes, options) : promisify(inflateRaw)(bytes, options)
}

/** RFC 1950 §2.2: the method is 8 and the first two bytes are a multiple of 31. */
function isZlib(bytes: Uint8Array): boolean {
  return bytes.length >= 2 && (bytes[0]! & 15) === 8 && ((bytes[0]! << 8) | bytes[1]!) % 31 === 0
}
