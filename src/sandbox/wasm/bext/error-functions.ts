import { toPlainError } from "../../../errors.ts"
import { define } from "./abi-function.ts"

/** Functions about what went wrong. */
export const ERROR_FUNCTIONS = {
  last_error: define(
    "() -> (i64)",
    (talk) => {
      const { refusal } = talk
      if (refusal === null) return 0n
      return talk.newText(`${refusal.code}: ${toPlainError(refusal).what}`)
    },
    { early: true },
  ),
  fail: define(
    "(i32 i32) -> ()",
    (talk, message, length) => {
      talk.reason = talk.text(message, length)
    },
    { early: true },
  ),
}
