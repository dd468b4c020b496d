import type { Limits } from "../../sandbox.ts"

/** What a line has beside its longest value. */
const ROOM_BYTES = 64 * 1024

/** The most bytes that a line may have in either direction, its end not counted: the largest value fits as base64. */
export function toLineBytes({ messageBytes }: Limits): number {
  return Math.ceil(messageBytes / 3) * 4 + ROOM_BYTES
}
