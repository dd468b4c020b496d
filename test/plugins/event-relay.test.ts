import assert from "node:assert/strict"
import { describe, it } from "node:test"
import { EventRelays, type RelayEnd } from "../../src/plugins/event-relay.ts"
import type { RequestCompleteEvent } from "../../src/plugins/request-complete.ts"
import { IpcBus } from "../../src/processes/ipc-bus.ts"
import type { BusPost } from "../../src/processes/messages.ts"
import { eventually } from "../processes/several.ts"

/** Buses that hear each other, as those of processes do. */
function createBuses(count: number) {
  const posts: BusPost[] = []
  const errors: object[] = []
  const buses: IpcBus[] = Array.from({ length: count }, (_, index) => {
    const send = (post: BusPost) => {
      posts.push(post)
      for (const [other, bus] of buses.entries()) if (other !== index) setImmediate(() => bus.receive(post))
    }
    return new IpcBus(send, { error: (detail) => errors.push(detail) })
  })
  const relays = buses.map((bus) => new EventRelays(bus))
  return { relays, posts, errors }
}

class End implements RelayEnd {
  readonly received: string[] = []
  lost = 0
  changes = 0

  receive(event: RequestCompleteEvent): void {
    this.received.push(event.path)
  }

  dropped(count: number): void {
    this.lost += count
  }

  endsChanged(): void {
    this.changes++
  }
}

const event = (path: string): RequestCompleteEvent => ({
  request_id: "id",
  method: "GET",
  path,
  status: 200,
  cache_status: null,
  render_time_us: 1,
  duration_ms: 1,
  tenant_id: null,
  site_id: null,
  encoding: null,
  is_bot: false,
})

const paths = (prefix: string, count: number) => Array.from({ length: count }, (_, index) => `${prefix}${index}`)

const eventPosts = (posts: readonly BusPost[]) =>
  posts.filter(({ message }) => typeof message === "object" && message !== null && "events" in message)

describe("finished requests on their way to the process that leads", () => {
  it("arrive in order, many in one message", async () => {
    const { relays, posts } = createBuses(3)
    const [leads, serves, other] = [new End(), new End(), new End()]
    const leader = relays[0]!.attach("audit", leads)
    leader.lead(true)
    const follower = relays[1]!.attach("audit", serves)
    relays[2]!.attach("audit", other)
    for (const path of paths("/", 100)) follower.push(event(path))
    await eventually(() => leads.received.length === 100, "all arrived")
    assert.deepEqual(leads.received, paths("/", 100))
    assert.deepEqual([serves.received, other.received, serves.lost], [[], [], 0])
    assert.ok(eventPosts(posts).length <= 2)
    assert.equal(leader.open, false)
  })

  it("wait until somebody leads, and are kept when it leads no more", async () => {
    const { relays } = createBuses(2)
    const [one, two] = [new End(), new End()]
    const first = relays[0]!.attach("audit", one)
    const second = relays[1]!.attach("audit", two)
    second.push(event("/early"))
    first.lead(true)
    await eventually(() => one.received.length === 1, "it arrived")
    first.follow()
    await eventually(() => second.open, "the other one knows")
    await new Promise((turn) => setImmediate(turn))
    second.push(event("/between"))
    second.lead(true)
    first.push(event("/late"))
    await eventually(() => two.received.length === 2, "it handed itself what it kept, and heard of the rest")
    assert.deepEqual(two.received.sort(), ["/between", "/late"])
    assert.deepEqual(one.received, ["/early"])
  })

  it("are not even made where nobody asks for them", async () => {
    const { relays, posts } = createBuses(2)
    relays[0]!.attach("audit", new End()).lead(false)
    const end = new End()
    const follower = relays[1]!.attach("audit", end)
    await eventually(() => !follower.open, "it knows")
    follower.push(event("/"))
    relays[1]!.detach("audit", end)
    assert.deepEqual([eventPosts(posts), end.lost], [[], 0])
  })

  it("belong to the newest end of the process that leads, and to the one before when that is gone", async () => {
    const { relays } = createBuses(2)
    const [old, next] = [new End(), new End()]
    relays[0]!.attach("audit", old).lead(true)
    relays[0]!.attach("audit", next)
    assert.deepEqual([old.changes, next.changes], [2, 1])
    const follower = relays[1]!.attach("audit", new End())
    follower.push(event("/next"))
    await eventually(() => next.received.length === 1, "it arrived")
    relays[0]!.detach("audit", next)
    follower.push(event("/old"))
    await eventually(() => old.received.length === 1, "it arrived")
    assert.deepEqual([old.received, next.received], [["/old"], ["/next"]])
  })

  it("of one plugin are not those of another", async () => {
    const { relays } = createBuses(2)
    const [audit, stats] = [new End(), new End()]
    relays[0]!.attach("audit", audit).lead(true)
    relays[0]!.attach("stats", stats).lead(true)
    relays[1]!.attach("stats", new End()).push(event("/"))
    await eventually(() => stats.received.length === 1, "it arrived")
    assert.deepEqual(audit.received, [])
  })

  it("are dropped and counted over 1,024 that wait", () => {
    const { relays } = createBuses(1)
    const end = new End()
    const relay = relays[0]!.attach("audit", end)
    for (const path of paths("/", 1100)) relay.push(event(path))
    assert.equal(end.lost, 76)
    relays[0]!.detach("audit", end)
    assert.equal(end.lost, 1100, "nobody leads: what waited is lost with the last end")
  })

  it("never make a message that the bus refuses, however long they are", async () => {
    const { relays, posts, errors } = createBuses(2)
    const leads = new End()
    relays[0]!.attach("audit", leads).lead(true)
    const end = new End()
    const follower = relays[1]!.attach("audit", end)
    const long = [
      ...paths(`/${"ä".repeat(9_000)}`, 20),
      `/${"x".repeat(70_000)}`,
      ...paths(`/${"y".repeat(60_000)}`, 3),
    ]
    for (const path of long) follower.push(event(path))
    await eventually(() => leads.received.length === 23, "all that fit arrived")
    assert.equal(end.lost, 1)
    assert.deepEqual(errors, [])
    for (const post of eventPosts(posts)) assert.ok(Buffer.byteLength(JSON.stringify(post.message)) <= 64 * 1024)
  })

  it("that wait are sent when the process ends", async () => {
    const { relays } = createBuses(2)
    const leads = new End()
    relays[0]!.attach("audit", leads).lead(true)
    const end = new End()
    const follower = relays[1]!.attach("audit", end)
    follower.push(event("/known"))
    await eventually(() => leads.received.length === 1, "it is known who leads")
    for (const path of paths("/", 500)) follower.push(event(path))
    relays[1]!.detach("audit", end)
    await eventually(() => leads.received.length === 501, "all arrived")
    assert.equal(end.lost, 0)
  })

  it("survive messages of another shape", async () => {
    const bus = new IpcBus(() => {}, { error: () => assert.fail() })
    const end = new End()
    const relay = new EventRelays(bus).attach("audit", end)
    relay.lead(true)
    for (const message of [null, 1, "events", [], { events: 1 }, { wanted: 1 }, {}]) {
      bus.receive({ type: "bus", topic: "request-complete/audit", message })
    }
    assert.deepEqual(end.received, [])
  })
})
