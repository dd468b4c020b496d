import assert from "node:assert/strict"
import { describe, it } from "node:test"
import { IpcBus } from "../../src/processes/ipc-bus.ts"
import type { BusPost } from "../../src/processes/messages.ts"

function createBus() {
  const sent: BusPost[] = []
  const errors: object[] = []
  const bus = new IpcBus((post) => sent.push(post), { error: (detail) => errors.push(detail) })
  return { bus, sent, errors }
}

describe("IpcBus", () => {
  it("sends to the others and does not hear itself", () => {
    const { bus, sent } = createBus()
    bus.subscribe("topic", () => assert.fail("it hears itself"))
    bus.publish("topic", { key: [1, null, "text"] })
    assert.deepEqual(sent, [{ type: "bus", topic: "topic", message: { key: [1, null, "text"] } }])
  })

  it("tells the subscribers of the topic, each until it ends", () => {
    const { bus } = createBus()
    const heard: unknown[] = []
    const listener = (message: unknown) => heard.push(message)
    const end = bus.subscribe("a", listener)
    bus.subscribe("a", listener)
    bus.subscribe("b", () => assert.fail("another topic"))
    bus.receive({ type: "bus", topic: "a", message: 1 })
    end()
    bus.receive({ type: "bus", topic: "a", message: 2 })
    assert.deepEqual(heard, [1, 1, 2])
  })

  it("sends no more than 64 KiB, nothing that is not JSON, and never throws", () => {
    const { bus, sent, errors } = createBus()
    bus.publish("topic", "x".repeat(64 * 1024 - 2))
    bus.publish("topic", "ä".repeat(32 * 1024))
    const round: Record<string, never> = {}
    Object.assign(round, { round })
    bus.publish("topic", round)
    bus.publish("t".repeat(129), null)
    assert.deepEqual([sent.length, errors.length], [1, 3])
  })

  it("goes on when a subscriber throws", () => {
    const { bus, errors } = createBus()
    let heard = 0
    bus.subscribe("topic", () => {
      throw new Error("broken")
    })
    bus.subscribe("topic", () => heard++)
    bus.receive({ type: "bus", topic: "topic", message: null })
    assert.deepEqual([heard, errors.length], [1, 1])
  })
})
