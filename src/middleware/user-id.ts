const MAX_USER_ID = 255
const CONTROL = /\p{Cc}/u

/** Whether this can name a user: ids end up in logs, headers and keys, so they are short and printable. */
export function isUserId(value: unknown): value is string {
  return typeof value === "string" && value !== "" && value.length <= MAX_USER_ID && !CONTROL.test(value)
}
