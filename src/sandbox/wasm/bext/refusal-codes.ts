import type { ErrorCode } from "../../../errors.ts"

/**
 * What a guest is told as a negative number and may handle. Any other failure ends the call. -1 is left to the guest. A
 * number never gets another meaning: modules have it compiled in.
 */
export const REFUSAL_CODES: ReadonlyMap<ErrorCode, number> = new Map<ErrorCode, number>([
  ["E_GUEST_RESULT_INVALID", -2],
  ["E_PERMISSION", -3],
  ["E_LIMIT_MESSAGE", -4],
  ["E_HEADER_FORBIDDEN", -5],
  ["E_HEADER_INVALID", -6],
  ["E_STATUS_INVALID", -7],
  ["E_BODY_NOT_DECLARED", -8],
  ["E_PATH_REWRITE", -9],
  ["E_STORAGE_KEY", -10],
  ["E_LIMIT_STORAGE", -11],
  ["E_STATE_UNAVAILABLE", -12],
  ["E_QUEUE_MESSAGE", -13],
  ["E_LIMIT_QUEUE", -14],
  ["E_FETCH_FORBIDDEN", -15],
  ["E_FETCH_FAILED", -16],
  ["E_LIMIT_FETCH", -17],
  ["E_QUERY_REWRITE", -18],
  ["E_METHOD_REWRITE", -19],
])
