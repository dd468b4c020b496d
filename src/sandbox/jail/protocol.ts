/**
 * What bext and a jailed program say to each other: one JSON object a line, both ways. The words are those of
 * docs/nsjail-protocol.md, which is normative. There is no code here. What the program sends is untrusted; these types are
 * what it may be after it was checked. Parameters are type aliases, not interfaces: only so are they `Json`.
 */
import type { Json } from "../sandbox.ts"

/** Text, or bytes in base64 (RFC 4648 §4, padded). */
export type Bytes = string | { readonly base64: string }

/** A body in the parameters of a call. `bytes`: its size, when it is too long to be there. */
export type BodyParam = { readonly text: string } | { readonly base64: string } | { readonly bytes: number }

/** Line of the host. With `id`: it expects one answer with the same. */
export interface ToGuest {
  readonly method: string
  readonly params: Json
  readonly id?: number | string
}

export type HelloParams = {
  readonly protocol: 1
  readonly plugin: string
  readonly config: Json
  readonly limits: { readonly line_bytes: number }
}

/** `onRequest`; the last three in `onResponse` only. */
export type RequestParams = {
  readonly method: string
  readonly path: string
  readonly query: string
  readonly scheme: string
  readonly host: string
  readonly client_address: string
  readonly request_id: string
  readonly upgrade: "websocket" | null
  readonly user: Json
  readonly tenant_id: string | null
  readonly site_id: string | null
  readonly headers: readonly (readonly [string, string])[]
  readonly extensions: Readonly<Record<string, string>>
  readonly body?: BodyParam
  readonly status?: number
  readonly response_headers?: readonly (readonly [string, string])[]
  readonly response_body?: BodyParam
}

/** Answer to a call of the host. In version 0 without `id`. */
export interface Answer {
  readonly id: number | null
  /** Null: it worked. */
  readonly error: { readonly message: string; readonly code: string | null } | null
  /** All fields of the line, unchecked. */
  readonly fields: Readonly<Record<string, Json>>
}

/** Call of the program, to the host. */
export interface GuestCall {
  readonly method: string
  readonly params: Json
  /** Null: no answer is wanted. */
  readonly id: number | string | null
  /** Call of the host that it belongs to. */
  readonly call: number | null
}

export type FromGuest = { readonly answer: Answer } | { readonly call: GuestCall }
