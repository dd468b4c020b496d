import { inspect } from "node:util"
import { ConfigError } from "../config/config-error.ts"
import { BextError } from "../errors.ts"
import type { ErrorMessage } from "./messages.ts"

/** An error on its way to another process. */
export function toErrorMessage(error: unknown): ErrorMessage {
  if (error instanceof ConfigError) {
    const { code, file, problems } = error
    return { kind: "config", code, file, problems }
  }
  if (!(error instanceof BextError)) return { kind: "defect", text: inspect(error) }
  const suffix = ` [${error.code}]`
  const what = error.message.endsWith(suffix) ? error.message.slice(0, -suffix.length) : error.message
  return { kind: "bext", code: error.code, what }
}

/** The error as it was thrown in the other process, as far as anybody prints it. */
export function fromErrorMessage(message: ErrorMessage): Error {
  switch (message.kind) {
    case "config":
      return new ConfigError(message.code, message.file, message.problems)
    case "bext":
      return new BextError(message.code, message.what)
    case "defect":
      return new BextError("E_INTERNAL", `a serving process failed\n${message.text}`)
  }
}
