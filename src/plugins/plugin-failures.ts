import type { Logger } from "pino"
import { BextError, type ErrorCode, PluginError } from "../errors.ts"
import { guestStack, printableLines } from "./guest-text.ts"

/** A plugin that could not be loaded or started. */
export interface PluginFailure {
  readonly name: string
  readonly error: unknown
  readonly required: boolean
}

/** The operator's own mistakes: leaving the plugin out would not be what the configuration says. */
const ALWAYS_FATAL: ReadonlySet<string> = new Set<ErrorCode>(["E_CONFIG_INVALID", "E_GRANT_MISSING"])

/**
 * Decides what failing plugins mean: those that are not required are logged and left out.
 * @throws {BextError} When a required one, or a mistake in the configuration, is among them. With several failures the
 *   message lists all, and `cause` is an AggregateError of them.
 */
export function settleFailures(failures: readonly PluginFailure[], logger: Logger): void {
  if (failures.some(isFatal)) throw toError(failures)
  for (const { name, error } of failures) {
    const code = error instanceof BextError ? error.code : "E_INTERNAL"
    const stack = error instanceof Error ? guestStack(error) : undefined
    logger.error({ plugin: name, code, stack }, `left out: ${describe(name, error)}`)
  }
}

function isFatal({ error, required }: PluginFailure): boolean {
  return required || (error instanceof BextError && ALWAYS_FATAL.has(error.code))
}

function toError(failures: readonly PluginFailure[]): BextError {
  const [{ name, error }] = failures as [PluginFailure]
  if (failures.length === 1) return error instanceof BextError ? error : unexpected(name, error)
  const first = failures.find(isFatal)!.error
  const list = failures.map((failure) => {
    const what = describe(failure.name, failure.error).replaceAll("\n", "\n  ")
    return `  ${what}${isFatal(failure) ? "" : " (not required)"}`
  })
  const code = first instanceof BextError ? first.code : "E_PLUGIN_LOAD_FAILED"
  const cause = new AggregateError(failures.map(({ error }) => error))
  return new BextError(code, `${failures.length} plugins failed:\n${list.join("\n")}\n`, { cause })
}

function unexpected(name: string, cause: unknown): PluginError {
  const what = cause instanceof Error ? cause.message : String(cause)
  return new PluginError("E_INTERNAL", name, printableLines(what), { cause })
}

/** A PluginError says whose it is. */
function describe(name: string, error: unknown): string {
  const what = printableLines(error instanceof Error ? error.message : String(error))
  return error instanceof PluginError ? what : `${name}: ${what}`
}
