import type { Permissions } from "../../../../src/config/manifest-schema.ts"
import type { RequestContext } from "../../../../src/message/request-context.ts"
import type { GuestAccess } from "../../../../src/plugins/guest-access.ts"
import { GuestExchange } from "../../../../src/plugins/guest-exchange.ts"
import { HeaderAccess } from "../../../../src/plugins/header-access.ts"
import type { Side } from "../../../../src/sandbox/sandbox.ts"
import { type ContextInput, requestContext, response } from "../../../plugins/request-context.ts"

export type Allowed = Partial<Permissions> & { body?: GuestAccess["body"] }

/** The exchange that guests get, with a request behind it. */
export function realExchange(
  writable: Side,
  allowed: Allowed = {},
  input: ContextInput = {},
): { readonly exchange: GuestExchange; readonly context: RequestContext } {
  const context = requestContext(writable === "response" ? { response: response("page"), ...input } : input)
  const permissions = {
    sensitive_headers: [],
    set_cookies: [],
    identity: false,
    rewrite_path: false,
    rewrite_method: false,
    ...allowed,
  }
  const access: GuestAccess = {
    plugin: "p",
    headers: new HeaderAccess("p", permissions, [], () => {}),
    permissions,
    body: allowed.body ?? "none",
    maxBodyBytes: 65_536,
    maxAnswerBytes: 65_536,
  }
  return { exchange: new GuestExchange(access, context, writable, null), context }
}
