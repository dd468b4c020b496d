import assert from "node:assert/strict"
import type { TestContext } from "node:test"
import { eventually } from "../processes/several.ts"
import type { Neighbours } from "./neighbours.ts"

/**
 * Ends the load, prints what its clients saw, and fails unless each request was answered, with 200 and as it should be.
 * @param mayBreak - Connections that may have ended without an answer: those of a process that was killed.
 */
export async function unharmed(t: TestContext, neighbours: Neighbours, mayBreak = 0): Promise<void> {
  const before = neighbours.answered
  await eventually(() => neighbours.answered >= before + 20, "neighbours are answered afterwards")
  t.diagnostic(await neighbours.stop())
  assert.deepEqual([...neighbours.answers.keys()], [200])
  assert.ok(neighbours.broken.length <= mayBreak, `more than ${mayBreak} broke: ${neighbours.broken.join(", ")}`)
  assert.deepEqual(neighbours.wrong, [])
}
