import { quote } from "../../../host/quote.ts"

/** Characters of a line that are shown. */
const SHOWN = 80
/** No character takes more bytes of UTF-8. */
const MAX_CHARACTER_BYTES = 4

/** A program did not keep to the protocol, and cannot be understood any further. The message is a clause for people. */
export class ProtocolFault extends Error {
  override readonly name = "ProtocolFault"

  /** @param line - What it wrote; its beginning is shown. */
  constructor(what: string, line?: Buffer) {
    super(line === undefined ? what : `${what}: ${show(line)}`)
  }
}

function show(line: Buffer): string {
  return quote(line.toString("utf8", 0, SHOWN * MAX_CHARACTER_BYTES), SHOWN)
}
