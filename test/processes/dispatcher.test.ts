import assert from "node:assert/strict"
import { Socket } from "node:net"
import { describe, it } from "node:test"
import { Dispatcher, type Target } from "../../src/processes/dispatcher.ts"
import { eventually } from "./several.ts"

/** Remembers what it was handed; the test says what becomes of it. */
class RecordingTarget implements Target {
  readonly handed: { id: number; socket: Socket }[] = []
  /** What it says when it is asked. */
  hasArrived = true

  hand(id: number, socket: Socket): void {
    this.handed.push({ id, socket })
  }

  async arrived(): Promise<boolean> {
    return this.hasArrived
  }

  take(dispatcher: Dispatcher, taken = true): void {
    dispatcher.taken(this, this.handed.at(-1)!.id, taken)
  }
}

function createDispatcher(limits: { connections?: number; header_timeout?: number } = {}) {
  let dropped = 0
  const dispatcher = new Dispatcher({
    limits: () => ({ connections: 100, header_timeout: 10_000, ...limits }),
    dropped: () => dropped++,
  })
  return { dispatcher, dropped: () => dropped }
}

describe("Dispatcher", () => {
  it("hands connections to the targets in turn, one at a time to each", () => {
    const { dispatcher } = createDispatcher()
    const targets = [new RecordingTarget(), new RecordingTarget()] as const
    for (const target of targets) dispatcher.add(target)
    const sockets = Array.from({ length: 6 }, () => new Socket())
    for (const socket of sockets) dispatcher.take(socket)
    assert.deepEqual(
      targets.map(({ handed }) => handed.length),
      [1, 1],
    )
    for (let round = 0; round < 3; round++) for (const target of targets) target.take(dispatcher)
    assert.deepEqual(
      targets.map(({ handed }) => handed.length),
      [3, 3],
    )
    assert.ok(
      sockets.every((socket) => socket.destroyed),
      "what was taken is closed here",
    )
    dispatcher.close()
  })

  it("passes by a target that stands still", () => {
    const { dispatcher } = createDispatcher()
    const [still, lively] = [new RecordingTarget(), new RecordingTarget()]
    dispatcher.add(still)
    dispatcher.add(lively)
    for (let count = 0; count < 5; count++) dispatcher.take(new Socket())
    for (let count = 0; count < 4; count++) lively.take(dispatcher)
    assert.deepEqual([still.handed.length, lively.handed.length], [1, 4])
    dispatcher.close()
  })

  it("gives what was on its way to a target that is lost to another one", () => {
    const { dispatcher } = createDispatcher()
    const [dead, alive] = [new RecordingTarget(), new RecordingTarget()]
    dispatcher.add(dead)
    const socket = new Socket()
    dispatcher.take(socket)
    dispatcher.add(alive)
    dispatcher.lost(dead)
    assert.equal(alive.handed[0]!.socket, socket)
    assert.equal(socket.destroyed, false)
    dispatcher.close()
  })

  it("tries every target once with a connection that is refused, then closes it", () => {
    const { dispatcher, dropped } = createDispatcher()
    const targets = [new RecordingTarget(), new RecordingTarget(), new RecordingTarget()]
    for (const target of targets) dispatcher.add(target)
    const socket = new Socket()
    dispatcher.take(socket)
    for (const target of targets) {
      assert.equal(target.handed.length, 1)
      target.take(dispatcher, false)
    }
    assert.equal(socket.destroyed, true)
    assert.equal(dropped(), 1)
    dispatcher.close()
  })

  it("offers a connection again that never arrived, also one that another target had refused", async () => {
    const { dispatcher } = createDispatcher()
    const [full, deaf] = [new RecordingTarget(), new RecordingTarget()]
    dispatcher.add(full)
    const socket = new Socket()
    dispatcher.take(socket)
    deaf.hasArrived = false
    dispatcher.add(deaf)
    full.take(dispatcher, false)
    assert.equal(deaf.handed[0]!.socket, socket)
    assert.ok(deaf.handed[0]!.id > full.handed[0]!.id, "numbers rise for each target")
    const healthy = new RecordingTarget()
    dispatcher.add(healthy)
    await eventually(() => healthy.handed.length > 0, "it is handed on")
    assert.equal(healthy.handed[0]!.socket, socket)
    dispatcher.close()
  })

  it("removes a target when nothing is on its way to it any more", async () => {
    const { dispatcher } = createDispatcher()
    const target = new RecordingTarget()
    dispatcher.add(target)
    dispatcher.take(new Socket())
    dispatcher.take(new Socket())
    let removed = false
    const removal = dispatcher.remove(target).then(() => {
      removed = true
    })
    await Promise.resolve()
    assert.equal(removed, false)
    target.take(dispatcher)
    await removal
    assert.equal(target.handed.length, 1, "it got no further one")
    dispatcher.close()
  })

  it("lets connections wait for a target, so many and so long", async () => {
    const { dispatcher, dropped } = createDispatcher({ connections: 2, header_timeout: 150 })
    const sockets = Array.from({ length: 3 }, () => new Socket())
    for (const socket of sockets) dispatcher.take(socket)
    assert.deepEqual(
      sockets.map(({ destroyed }) => destroyed),
      [false, false, true],
    )
    // The dispatcher's own timer keeps no process alive.
    await eventually(() => dropped() === 3, "they are closed")
    assert.ok(sockets.every(({ destroyed }) => destroyed))
    dispatcher.close()
  })
})
