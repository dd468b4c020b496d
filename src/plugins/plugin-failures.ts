import { BextError } from "../errors.ts"
import type { Logger } from "./logger.ts"

/** A plugin that could not be loaded or started. */
export interface PluginFailure {
  readonly name: string
  readonly error: unknown
  readonly required: boolean
}

/**
 * Decides what failing plugins mean: those that are not required are logged and left out.
 * @throws {BextError} When a required one is among them. With several failures the message lists all, and `cause` is an
 *   AggregateError of them.
 */
export function settleFailures(failures: readonly PluginFailure[], logger: Logger): void {
  if (failures.some(({ required }) => required)) throw toError(failures)
  for (const { name, error } of failures) {
    const code = error instanceof BextError ? error.code : "E_INTERNAL"
    logger.error({ plugin: name, code, err: error }, `plugin ${name} is left out: ${messageOf(error)}`)
  }
}

function toError(failures: readonly PluginFailure[]): unknown {
  if (failures.length === 1) return failures[0]!.error
  const first = failures.find(({ required }) => required)!.error
  const list = failures.map(({ name, error, required }) => {
    return `  ${name}${required ? "" : " (not required)"}: ${messageOf(error).replaceAll("\n", "\n    ")}`
  })
  const code = first instanceof BextError ? first.code : "E_PLUGIN_LOAD_FAILED"
  const cause = new AggregateError(failures.map(({ error }) => error))
  return new BextError(code, `${failures.length} plugins failed:\n${list.join("\n")}\n`, { cause })
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
