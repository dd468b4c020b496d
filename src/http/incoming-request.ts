import { IncomingMessage } from "node:http"

/** Bytes. Shorter pieces of a body cost far more memory than they have bytes while they wait to be read. */
const CRUMB_BYTES = 64
/** Crumbs of one request that may wait: some hundred kilobytes of memory. */
const MAX_CRUMBS = 1024

/**
 * A request as the parser hands it over, its body in the pieces that the client made. What waits to be read is bounded in
 * bytes by Node; this bounds the pieces. A client that sends thousands of crumbs to a server that is not reading yet loses
 * its connection.
 */
export class IncomingRequest extends IncomingMessage {
  #crumbs = 0

  override push(chunk: Uint8Array | null, encoding?: BufferEncoding): boolean {
    if (chunk !== null && chunk.length < CRUMB_BYTES) {
      if (this.readableLength === 0) this.#crumbs = 0
      if (++this.#crumbs > MAX_CRUMBS) {
        this.destroy()
        return false
      }
    }
    return super.push(chunk, encoding)
  }
}
