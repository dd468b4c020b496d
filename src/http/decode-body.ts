import type { Transform } from "node:stream"
import { createBrotliDecompress, createGunzip, createInflate } from "node:zlib"
import { BextError } from "../errors.ts"

/**
 * The decoder for a Content-Encoding value.
 * @returns null when there is nothing to decode.
 * @throws {BextError} `E_BODY_ENCODING` for an unknown coding and for more than one: each layer would multiply what a
 *   few bytes can become.
 * Source: RFC 9110 §8.4.1.
 */
export function createBodyDecoder(contentEncoding: string | undefined): Transform | null {
  switch (contentEncoding?.trim().toLowerCase()) {
    case undefined:
    case "":
    case "identity":
      return null
    case "gzip":
    case "x-gzip":
      return createGunzip()
    case "deflate":
      return createInflate()
    case "br":
      return createBrotliDecompress()
    default:
      throw new BextError("E_BODY_ENCODING", "the body has a content coding that is not supported")
  }
}
