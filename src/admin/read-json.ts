import type { IncomingMessage, ServerResponse } from "node:http"
import { BextError } from "../errors.ts"
import type { Json } from "../sandbox/sandbox.ts"

/** Of a request body. */
const MAX_BYTES = 64 * 1024

/**
 * Reads a body of JSON. The content type is required: it is what a form of a browser page cannot set.
 * @throws {BextError} `E_ADMIN_FORBIDDEN`, `E_BODY_TOO_LARGE`, `E_ADMIN_REQUEST`.
 */
export async function readJson(incoming: IncomingMessage, outgoing: ServerResponse): Promise<Json> {
  const { "content-type": type = "", "content-length": length, expect } = incoming.headers
  if (!/^application\/json *(; *charset="?utf-8"?)?$/i.test(type)) {
    throw new BextError("E_ADMIN_FORBIDDEN", "expected Content-Type: application/json")
  }
  if (Number(length ?? 0) > MAX_BYTES) throw tooLarge()
  if (expect !== undefined) outgoing.writeContinue()
  const bytes = await readBytes(incoming)
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes))
  } catch {
    throw new BextError("E_ADMIN_REQUEST", "the body is not JSON")
  }
}

/** Not by iteration: leaving that early destroys the connection, and the answer with it. */
function readBytes(incoming: IncomingMessage): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let bytes = 0
    incoming.on("data", (chunk: Buffer) => {
      bytes += chunk.length
      if (bytes <= MAX_BYTES) chunks.push(chunk)
      else reject(tooLarge())
    })
    incoming.once("end", () => resolve(Buffer.concat(chunks)))
    incoming.once("close", () => reject(new BextError("E_ADMIN_REQUEST", "the body broke off")))
  })
}

function tooLarge(): BextError {
  return new BextError("E_BODY_TOO_LARGE", `the body is over ${MAX_BYTES} bytes`)
}
