import { PluginError } from "../../../errors.ts"
import { HOOK_NAMES, type HookName, toCamelCase } from "../../../hooks.ts"
import type { GuestServices } from "../../../host/services.ts"
import type { HookCall, Json, Limits } from "../../sandbox.ts"
import type { ToGuest } from "../protocol.ts"
import { toParams } from "./call-params.ts"
import { toLineBytes } from "./line-bytes.ts"

const METHODS = Object.fromEntries(HOOK_NAMES.map((hook) => [hook, toCamelCase(hook)])) as Record<HookName, string>

/** A message of the host, "\n" included. */
export function toLine(message: ToGuest): string {
  return `${JSON.stringify(message)}\n`
}

/**
 * The line of a call.
 * @param id - Null: version 0 has none.
 * @throws {PluginError} `E_LIMIT_MESSAGE`: the line of an event is over `limits.messageBytes`, or a request with all that
 *   belongs to it is longer than a line may be.
 */
export function toCallLine(
  plugin: string,
  call: HookCall,
  id: number | null,
  services: GuestServices,
  limits: Limits,
): string {
  const method = METHODS[call.hook]
  const params = toParams(call, services)
  const line = toLine(id === null ? { method, params } : { method, params, id })
  const most = call.exchange === null ? limits.messageBytes : toLineBytes(limits)
  if (isWithin(line, most)) return line
  throw new PluginError("E_LIMIT_MESSAGE", plugin, `${call.hook}: its line would have more than ${most} bytes`)
}

/** The host's answer to a call of a program. An answer that is too long for a line becomes the refusal `E_LIMIT_MESSAGE`. */
export function toResultLine(id: number | string, params: Json, limits: Limits): string {
  const line = toLine({ method: "result", params, id })
  if (isWithin(line, toLineBytes(limits))) return line
  const message = `the answer has more than ${toLineBytes(limits)} bytes`
  return toLine({ method: "result", params: { error: { code: "E_LIMIT_MESSAGE", message } }, id })
}

/** No UTF-16 unit takes more than three bytes of UTF-8. */
function isWithin(line: string, bytes: number): boolean {
  return line.length * 3 <= bytes || Buffer.byteLength(line) - 1 <= bytes
}
