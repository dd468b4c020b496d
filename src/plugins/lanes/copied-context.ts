import { Readable } from "node:stream"
import { HeaderList } from "../../message/header-list.ts"
import type { RequestBody, ResponseState, User } from "../../message/request-context.ts"
import type { Trailers } from "../../message/trailers.ts"
import type { ExchangeData } from "../../sandbox/sandbox.ts"
import type { ExchangeContext } from "../guest-exchange.ts"

/** A request as its copy in another thread knows it. It is looked at, never answered: changes go back as data. */
export function toContext(data: ExchangeData, plugin: string): ExchangeContext {
  const { method, clientMethod, path, query, scheme, host, clientAddress, clientPort, requestId, protocolVersion } =
    data
  const { upgrade, tenantId, siteId, response } = data
  return {
    method,
    clientMethod,
    path,
    query,
    scheme,
    host,
    clientAddress,
    clientPort,
    requestId,
    protocolVersion,
    upgrade: upgrade === null ? null : { protocol: upgrade },
    // JSON on both sides, see GuestExchange.
    user: data.user as unknown as User | null,
    tenantId,
    siteId,
    requestHeaders: HeaderList.borrow([...data.requestHeaders]),
    requestBody: new CopiedBody(data.requestBody, data.requestTrailers),
    extensions: new Map(data.extensions),
    slots: data.slot === null ? null : new Map([[plugin, data.slot]]),
    response: response === null ? null : toResponse(response),
  }
}

function toResponse({ failed, status, headers, body, trailers }: NonNullable<ExchangeData["response"]>): ResponseState {
  const content = body === "stream" ? Readable.from([]) : body
  return { status, headers: HeaderList.borrow([...headers]), body: content, trailers: toTrailers(trailers), failed }
}

function toTrailers(fields: readonly string[] | null): Trailers | null {
  return fields === null ? null : { announced: "", fields: HeaderList.borrow([...fields]) }
}

class CopiedBody implements Pick<RequestBody, "present" | "bytes" | "trailers" | "replace"> {
  readonly present: boolean
  readonly bytes: Uint8Array | undefined
  readonly trailers: Trailers | null

  constructor({ present, bytes }: ExchangeData["requestBody"], trailers: ExchangeData["requestTrailers"]) {
    this.present = present
    this.bytes = bytes
    this.trailers = toTrailers(trailers)
  }

  replace(): never {
    throw new TypeError("a copied request was changed")
  }
}
