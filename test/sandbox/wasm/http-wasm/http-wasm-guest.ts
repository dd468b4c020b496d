import type { TestContext } from "node:test"
import type { Permissions } from "../../../../src/config/manifest-schema.ts"
import type { RequestContext } from "../../../../src/message/request-context.ts"
import type { GuestAccess } from "../../../../src/plugins/guest-access.ts"
import { GuestExchange } from "../../../../src/plugins/guest-exchange.ts"
import { HeaderAccess } from "../../../../src/plugins/header-access.ts"
import type { HookCall, InstanceMode, Sandbox } from "../../../../src/sandbox/sandbox.ts"
import { HTTP_HANDLER_TYPES } from "../../../../src/sandbox/wasm/http-wasm/types.ts"
import { createWasmTier } from "../../../../src/sandbox/wasm/tier.ts"
import { RecordingServices } from "../../../contracts/recording-services.ts"
import { type ContextInput, requestContext, response } from "../../../plugins/request-context.ts"
import { toBinary } from "../any-abi.ts"
import { writeWasm } from "../write-wasm.ts"

/** A module in the text format: the functions of the ABI are `$name`, and `$say`, `$number`, `$list` log what they are given. */
export interface HttpWasmText {
  /** Body of handle_request, which returns i64. Default: next without context. */
  readonly request?: string
  /** Body of handle_response, with locals $context and $error. */
  readonly response?: string
  /** Further imports. */
  readonly imports?: string
  /** Further fields of the module. */
  readonly fields?: string
}

export interface HttpWasmGuestOptions extends HttpWasmText {
  readonly body?: GuestAccess["body"]
  readonly permissions?: Partial<Permissions>
  readonly instance?: InstanceMode
  readonly config?: RecordingServices["config"]
}

const tier = createWasmTier()
const LIMITS = { cpuMs: 2000, wallMs: 5000, fuel: 20_000_000 }

/** A loaded guest and what it does with requests, as in the plugin host. */
export class HttpWasmGuest {
  readonly services: RecordingServices
  readonly sandbox: Sandbox
  /** Of the last call. */
  fuelUsed = 0
  readonly #access: GuestAccess

  constructor(
    sandbox: Sandbox,
    services: RecordingServices,
    { permissions = {}, body = "none" }: HttpWasmGuestOptions,
  ) {
    const allowed = {
      sensitive_headers: [],
      set_cookies: [],
      identity: false,
      rewrite_path: false,
      rewrite_method: false,
      ...permissions,
    }
    this.sandbox = sandbox
    this.services = services
    this.#access = {
      plugin: "guest",
      headers: new HeaderAccess("guest", allowed, [], () => {}),
      permissions: allowed,
      body,
      maxBodyBytes: 64 * 1024,
      maxAnswerBytes: 64 * 1024,
    }
  }

  get lines(): readonly string[] {
    return this.services.lines.map((line) => line.replace(/^info /, ""))
  }

  request(input: ContextInput = {}): RequestContext {
    const context = requestContext(input)
    // The plugin host has buffered it by now.
    if (input.body !== undefined) context.requestBody.replace(Buffer.from(input.body))
    this.handle(context)
    return context
  }

  /** As `request`, for a test that looks at the context after a failure. */
  handle(context: RequestContext): void {
    this.#call("on_request", context)
  }

  /** Has the app answer, unless the guest did, and runs `on_response`. */
  respond(
    context: RequestContext,
    body = "page",
    headers: readonly (readonly [string, string])[] = [],
    status = 200,
  ): RequestContext {
    context.response ??= response(body, headers, status)
    this.#call("on_response", context)
    return context
  }

  #call(hook: "on_request" | "on_response", context: RequestContext): void {
    const side = hook === "on_request" ? "request" : "response"
    const exchange = new GuestExchange(this.#access, context, side, null)
    const call: HookCall = { hook, exchange, params: [], tenant: null, limits: LIMITS, leader: false, signal: null }
    try {
      this.sandbox.call(call)
      exchange.commit()
    } finally {
      this.fuelUsed = call.fuelUsed!
      exchange.close()
    }
  }
}

export async function httpWasmGuest(t: TestContext, options: HttpWasmGuestOptions): Promise<HttpWasmGuest> {
  const services = new DeclaringServices(options)
  const { instance = "shared" } = options
  const sandbox = await writeWasm(await tier, toBinary(toText(options)), { services, instance })
  t.after(() => sandbox[Symbol.asyncDispose]())
  return new HttpWasmGuest(sandbox, services, options)
}

class DeclaringServices extends RecordingServices {
  override readonly config
  readonly #body: GuestAccess["body"]

  constructor({ config = { greeting: "hello" }, body = "none" }: HttpWasmGuestOptions) {
    super()
    this.config = config
    this.#body = body
  }

  override granted(service?: string): boolean {
    return this.#body === "both" || service === `${this.#body}_body`
  }
}

export function toText({ request = "i64.const 1", response = "", imports = "", fields = "" }: HttpWasmText): string {
  return `(module
    ${[...HTTP_HANDLER_TYPES].map(([name, type]) => `(import "http_handler" "${name}" (func $${name} ${typeText(type)}))`).join("\n")}
    ${imports}
    (memory (export "memory") 2)
    ;; Logs the bytes at an address.
    (func $say (param $at i32) (param $length i32) (call $log (i32.const 0) (local.get $at) (local.get $length)))
    ;; Logs a number in 16 hexadecimal digits; uses memory from 131000.
    (func $number (param $n i64) (local $i i32) (local $digit i32)
      (local.set $i (i32.const 15))
      (loop $next
        (local.set $digit (i32.wrap_i64 (i64.and (local.get $n) (i64.const 15))))
        (i32.store8 offset=131000 (local.get $i)
          (i32.add (local.get $digit) (select (i32.const 87) (i32.const 48) (i32.gt_u (local.get $digit) (i32.const 9)))))
        (local.set $n (i64.shr_u (local.get $n) (i64.const 4)))
        (local.set $i (i32.sub (local.get $i) (i32.const 1)))
        (br_if $next (i32.ge_s (local.get $i) (i32.const 0))))
      (call $say (i32.const 131000) (i32.const 16)))
    ;; Logs count and length of a list, and the list that was written to an address.
    (func $list (param $at i32) (param $countLength i64)
      (call $number (local.get $countLength))
      (call $say (local.get $at) (i32.wrap_i64 (local.get $countLength))))
    (func (export "handle_request") (result i64) ${request})
    (func (export "handle_response") (param $context i32) (param $error i32) ${response})
    ${fields})`
}

function typeText(type: string): string {
  const [, parameters, results] = /^\((.*)\) -> \((.*)\)$/.exec(type)!
  return `(param ${parameters}) (result ${results})`
}
