import assert from "node:assert/strict"
import { it } from "node:test"
import { EventLoopDelay } from "../../src/telemetry/event-loop-delay.ts"

it("an event loop that is held up is seen as late", async () => {
  using delay = new EventLoopDelay()
  assert.equal(delay.meanMs, 0)
  const endMs = performance.now() + 10_000
  while (delay.meanMs < 20 && performance.now() < endMs) {
    const heldMs = performance.now() + 60
    while (performance.now() < heldMs);
    await new Promise((turn) => setTimeout(turn, 1))
  }
  assert.ok(delay.meanMs >= 20, `${delay.meanMs} ms`)
})
