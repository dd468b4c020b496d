import type { IncomingMessage } from "node:http"
import { HeaderList } from "../message/header-list.ts"
import { nominatedBy, type Trailers, toAnnounced, toTrailerFields } from "../message/trailers.ts"
import type { ScreenedHeaders } from "./screen-headers.ts"

const NOTHING = HeaderList.borrow([])

/** Whether a client keeps trailer fields. Source: RFC 9110 §10.1.4; a member with a weight is none that says so. */
export function takesTrailers(incoming: IncomingMessage, { te }: ScreenedHeaders): boolean {
  return te !== undefined && incoming.httpVersionMinor === 1 && /(^|,)[ \t]*trailers[ \t]*(,|$)/i.test(te)
}

/** The trailer section of a request with chunked content, screened as its header section is. */
export class RequestTrailers implements Trailers {
  readonly announced: string
  readonly #incoming: IncomingMessage
  readonly #isDropped: (name: string) => boolean
  #fields: HeaderList | undefined

  /** @param identity - As for `screenHeaders`. */
  constructor(incoming: IncomingMessage, { connection, trailer }: ScreenedHeaders, identity: ReadonlySet<string>) {
    const isNominated = nominatedBy(connection)
    this.#incoming = incoming
    this.#isDropped = (name) => isNominated(name) || identity.has(name.toLowerCase().replaceAll("_", "-"))
    this.announced = toAnnounced(trailer, this.#isDropped)
  }

  get fields(): HeaderList {
    if (this.#fields === undefined && this.#incoming.complete) {
      this.#fields = toTrailerFields(this.#incoming.rawTrailers, this.#isDropped)
    }
    return this.#fields ?? NOTHING
  }
}
