import assert from "node:assert/strict"
import type { TestContext } from "node:test"
import { eventually } from "../processes/several.ts"
import type { Neighbours } from "./neighbours.ts"

/** Ends the load, prints what its clients saw, and fails unless each request was answered, with 200 and as it should be. */
export async function unharmed(t: TestContext, neighbours: Neighbours): Promise<void> {
  const before = neighbours.answered
  await eventually(() => neighbours.answered >= before + 20, "neighbours are answered afterwards")
  t.diagnostic(await neighbours.stop())
  assert.deepEqual([...neighbours.answers.keys()], [200])
  assert.deepEqual(neighbours.broken, [])
  assert.deepEqual(neighbours.wrong, [])
}
