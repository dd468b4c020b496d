import * as host from "./bext"
import { toBase64 } from "./encoding"
import { Field } from "./headers"
import { parseJson, quote } from "./json"
import { at, takeBytes, takeText, toUtf8 } from "./memory"

/** What is asked for. */
export class FetchRequest {
  constructor(public url: string) {}
  method: string = "GET"
  headers: Field[] = []
  body: Uint8Array = new Uint8Array(0)
  /** "follow" (each hop must be allowed as well), "manual" or "error". */
  redirect: string = "follow"
}

/** The answer, whatever its status. */
export class FetchResponse {
  /** Where redirects led. */
  url: string = ""
  status: i32 = 0
  headers: Field[] = []
  body: Uint8Array = new Uint8Array(0)

  text(): string {
    return String.UTF8.decodeUnsafe(this.body.dataStart, this.body.length)
  }
}

/**
 * Requests a URL that plugin.toml lists ([permissions] allowed_urls) and the operator has granted, and waits for the answer.
 * @returns null: refused with E_FETCH_FORBIDDEN, E_LIMIT_FETCH, E_FETCH_FAILED, E_LIMIT_MESSAGE or E_PERMISSION.
 */
export function fetch(request: FetchRequest): FetchResponse | null {
  const json = toUtf8(encode(request))
  const head = takeText(host.http_fetch(at(json), json.byteLength))
  if (head == null) return null
  const body = takeBytes(host.http_fetch_body())
  if (body == null) return null
  const answer = parseJson(head)!
  const response = new FetchResponse()
  response.url = answer.get("url")!.text
  response.status = <i32>answer.get("status")!.number
  const headers = answer.get("headers")!.items
  for (let i = 0; i < headers.length; i++) {
    const pair = headers[i].items
    response.headers.push(new Field(pair[0].text, pair[1].text))
  }
  response.body = body
  return response
}

function encode(request: FetchRequest): string {
  const headers: string[] = []
  for (let i = 0; i < request.headers.length; i++) {
    headers.push(`[${quote(request.headers[i].name)},${quote(request.headers[i].value)}]`)
  }
  const body = request.body.length > 0 ? `,"body_base64":"${toBase64(request.body)}"` : ""
  const head = `"url":${quote(request.url)},"method":${quote(request.method)},"redirect":${quote(request.redirect)}`
  return `{${head},"headers":[${headers.join(",")}]${body}}`
}
