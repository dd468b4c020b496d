import * as host from "./bext"
import { check, toUtf8 } from "./memory"

/**
 * The buffered body of a request or a response. Reading it leaves it as it is for the app. Refused with E_BODY_NOT_DECLARED
 * unless plugin.toml asks for this side: `body = "request"`, "response" or "both" in [sandbox].
 */
export class Body {
  constructor(private side: i32) {}

  /** Bytes, or negative: refused. */
  get size(): i32 {
    return check(host.get_body_size(this.side))
  }

  /** A copy of the whole body; null: refused. */
  bytes(): Uint8Array | null {
    const size = this.size
    if (size < 0) return null
    const bytes = new Uint8Array(size)
    return this.read(0, bytes) < 0 ? null : bytes
  }

  /** The body, read as UTF-8; null: refused. */
  text(): string | null {
    const bytes = this.bytes()
    return bytes == null ? null : String.UTF8.decodeUnsafe(bytes.dataStart, bytes.length)
  }

  /** Copies what follows `offset` into `buffer`. @returns how many bytes; 0: the end; negative: refused. */
  read(offset: i32, buffer: Uint8Array): i32 {
    return check(host.read_body(this.side, offset, buffer.dataStart, buffer.length))
  }

  /** Replaces the body; ETag, Digest, Content-Encoding and Accept-Ranges go with the old one. */
  set(bytes: Uint8Array): i32 {
    return check(host.set_body(this.side, bytes.dataStart, bytes.length))
  }

  setText(text: string): i32 {
    return this.set(Uint8Array.wrap(toUtf8(text)))
  }
}
