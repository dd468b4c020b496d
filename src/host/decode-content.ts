import { promisify } from "node:util"
import { brotliDecompress, gunzip, inflate, inflateRaw } from "node:zlib"
import { BextError } from "../errors.ts"
import { quote } from "./quote.ts"

const unzip = promisify(gunzip)
const unbrotli = promisify(brotliDecompress)
const undeflate = promisify(inflate)
const undeflateRaw = promisify(inflateRaw)

/** More layers than anybody needs: each one can multiply the work. */
const MAX_CODINGS = 2

/**
 * Removes the content codings of a body (RFC 9110 §8.4). Every layer may have at most `maxBytes`.
 * @throws {BextError} `E_LIMIT_MESSAGE` when it expands to more, `E_FETCH_FAILED` when it is broken or coded otherwise.
 */
export async function decodeContent(body: Uint8Array, codings: string, maxBytes: number): Promise<Uint8Array> {
  const names = codings
    .toLowerCase()
    .split(",")
    .map((name) => name.trim())
  const layers = names.filter((name) => name !== "" && name !== "identity").reverse()
  if (layers.length > MAX_CODINGS) throw new BextError("E_FETCH_FAILED", "the response has too many content codings")
  let decoded = body
  for (const coding of layers) decoded = await removeOne(decoded, coding, maxBytes)
  return decoded
}

async function removeOne(body: Uint8Array, coding: string, maxBytes: number): Promise<Uint8Array> {
  const options = { maxOutputLength: Math.max(maxBytes, 1) }
  try {
    if (coding === "gzip" || coding === "x-gzip") return await unzip(body, options)
    if (coding === "br") return await unbrotli(body, options)
    // "deflate" is the zlib format, but some servers send it bare (RFC 9110 §8.4.1.2).
    if (coding === "deflate") return await (isZlib(body) ? undeflate(body, options) : undeflateRaw(body, options))
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ERR_BUFFER_TOO_LARGE") {
      throw new BextError("E_LIMIT_MESSAGE", `the response body expands to more than ${maxBytes} bytes`, {
        cause: error,
      })
    }
    throw new BextError("E_FETCH_FAILED", `the response body is not valid ${coding}`, { cause: error })
  }
  throw new BextError("E_FETCH_FAILED", `the response has the content coding ${quote(coding, 40)}`)
}

/** RFC 1950 §2.2: the method is 8 and the first two bytes are a multiple of 31. */
function isZlib(body: Uint8Array): boolean {
  return body.length >= 2 && (body[0]! & 15) === 8 && ((body[0]! << 8) | body[1]!) % 31 === 0
}
