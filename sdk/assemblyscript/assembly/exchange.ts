import * as host from "./bext"
import { Body } from "./body"
import { Field, Headers, toPairs } from "./headers"
import { at, check, takeText, toUtf8 } from "./memory"

const REQUEST: i32 = 0
const RESPONSE: i32 = 1

/** What a hook returns when the request goes on, and when it was answered. */
export const CONTINUE: i32 = 0
export const ANSWERED: i32 = 1

/**
 * The request that on_request and on_response are called for. Fields are asked for when they are read. Changes take effect
 * when the call succeeds; they return 0, or a negative number when the host refuses (see `refusal`).
 */
export class Request {
  /** Those this plugin may see: cookie, authorization and the like only when plugin.toml lists them. */
  readonly headers: Headers = new Headers(REQUEST)
  readonly body: Body = new Body(REQUEST)

  /** As sent, such as "GET". */
  get method(): string {
    return orEmpty(takeText(host.get_method()))
  }

  /** Absolute, percent-decoded once, without dot segments and "//". */
  get path(): string {
    return orEmpty(takeText(host.get_path()))
  }

  /** What follows "?", as sent; "" when there is none. */
  get query(): string {
    return orEmpty(takeText(host.get_query()))
  }

  /** "http" or "https". */
  get scheme(): string {
    return orEmpty(takeText(host.get_scheme()))
  }

  /** The authority in lower case, with the port if the client sent one. */
  get host(): string {
    return orEmpty(takeText(host.get_host()))
  }

  /** The client's IP address, after trusted proxies. */
  get clientAddress(): string {
    return orEmpty(takeText(host.get_client_address()))
  }

  /** The request's id, which the log has as well. */
  get id(): string {
    return orEmpty(takeText(host.get_request_id()))
  }

  /** "websocket" when the client asks for one. */
  get upgrade(): string | null {
    return takeText(host.get_upgrade())
  }

  /** Who the request speaks for, as JSON: {"id": …, "claims": {…}}. Null: nobody. */
  get user(): string | null {
    return takeText(host.get_user())
  }

  get tenantId(): string | null {
    return takeText(host.get_tenant_id())
  }

  get siteId(): string | null {
    return takeText(host.get_site_id())
  }

  /** What a plugin left on the request under "plugin.key"; null: nothing. */
  extension(key: string): string | null {
    const bytes = toUtf8(key)
    return takeText(host.get_extension(at(bytes), bytes.byteLength))
  }

  /** Leaves text of at most 8 KiB for other plugins, under "this-plugin.key"; at most 32 of them. */
  setExtension(key: string, value: string): i32 {
    const keyBytes = toUtf8(key)
    const bytes = toUtf8(value)
    return check(host.set_extension(at(keyBytes), keyBytes.byteLength, at(bytes), bytes.byteLength))
  }

  /** Absolute and normalised (E_PATH_REWRITE). Needs rewrite_path. */
  setPath(path: string): i32 {
    const bytes = toUtf8(path)
    return check(host.set_path(at(bytes), bytes.byteLength))
  }

  /** Percent-encoded, without "?" (E_QUERY_REWRITE). Needs rewrite_path. */
  setQuery(query: string): i32 {
    const bytes = toUtf8(query)
    return check(host.set_query(at(bytes), bytes.byteLength))
  }

  /** In upper case (E_METHOD_REWRITE); a request that becomes GET or HEAD has no content any more. Needs rewrite_method. */
  setMethod(method: string): i32 {
    const bytes = toUtf8(method)
    return check(host.set_method(at(bytes), bytes.byteLength))
  }

  /** JSON {"id": …, "claims": {…}} or null. Needs identity. */
  setUser(json: string): i32 {
    const bytes = toUtf8(json)
    return check(host.set_user(at(bytes), bytes.byteLength))
  }

  /** Needs identity. */
  setTenantId(id: string): i32 {
    const bytes = toUtf8(id)
    return check(host.set_tenant_id(at(bytes), bytes.byteLength))
  }

  /** Needs identity. */
  setSiteId(id: string): i32 {
    const bytes = toUtf8(id)
    return check(host.set_site_id(at(bytes), bytes.byteLength))
  }

  /**
   * Answers in place of the app, in on_request only: `return request.respond(…)`.
   * @param status - 200 to 599 (E_STATUS_INVALID).
   * @returns `ANSWERED`, or negative: refused.
   */
  respond(status: i32, body: Uint8Array, headers: Field[] = []): i32 {
    const pairs = toUtf8(toPairs(headers))
    const result = check(host.respond(status, at(pairs), pairs.byteLength, body.dataStart, body.length))
    return result < 0 ? result : ANSWERED
  }

  /** `respond` with text and its content type. */
  respondText(status: i32, text: string, headers: Field[] = []): i32 {
    const plain = new Field("content-type", "text/plain; charset=utf-8")
    return this.respond(status, Uint8Array.wrap(toUtf8(text)), headers.concat([plain]))
  }
}

/** The response on its way out, in on_response. Changes take effect when the call succeeds. */
export class Response {
  readonly headers: Headers = new Headers(RESPONSE)
  readonly body: Body = new Body(RESPONSE)

  get status(): i32 {
    return host.get_status()
  }

  /** 200 to 599 (E_STATUS_INVALID). */
  setStatus(status: i32): i32 {
    return check(host.set_status(status))
  }
}

export const request = new Request()
export const response = new Response()

/** Only outside of the hooks that have a request is there nothing. */
function orEmpty(text: string | null): string {
  return text == null ? "" : text
}
