import assert from "node:assert/strict"
import { describe, it } from "node:test"
import { SessionRevocations } from "../../src/middleware/session-revocations.ts"
import { toUserKey } from "../../src/middleware/session-seal.ts"
import type { ChangeListener, KeyValueStore } from "../../src/state/state.ts"
import { AsynchronousStore, StateServer } from "../state/asynchronous-store.ts"
import { openState } from "./session-site.ts"

const NOW = 1_800_000_000_000

function session(id: string, user = "ada", begunMs = NOW) {
  return { id, userKeys: [toUserKey(user, ""), toUserKey(user, "example.com")], begunMs }
}

/** The store, with some of its methods replaced. */
function altered(state: KeyValueStore, methods: Partial<KeyValueStore>): KeyValueStore {
  return new Proxy(state, {
    get(target, name) {
      const method = methods[name as keyof KeyValueStore] ?? target[name as keyof KeyValueStore]
      return typeof method === "function" ? method.bind(target) : method
    },
  })
}

async function eventually(holds: () => boolean): Promise<void> {
  for (let i = 0; i < 1_000 && !holds(); i++) await new Promise((resolve) => setTimeout(resolve, 5))
  assert.ok(holds())
}

describe("SessionRevocations", () => {
  it("know a session from the moment it is revoked, and others opened later know it too", async (t) => {
    const state = openState(t)
    using here = await SessionRevocations.open(state, () => NOW)
    const written = here.revokeSession("one", NOW + 1_000)
    assert.equal(here.isRevoked(session("one")), true)
    assert.equal(here.isRevoked(session("two")), false)
    await written
    using later = await SessionRevocations.open(state, () => NOW)
    assert.equal(later.isRevoked(session("one")), true)
  })

  it("end the sessions of a user that began until then, and never take a later time back", async (t) => {
    const state = openState(t)
    using here = await SessionRevocations.open(state, () => NOW)
    await here.revokeUser("ada", { untilMs: NOW })
    await here.revokeUser("ada", { untilMs: NOW - 5_000 })
    using later = await SessionRevocations.open(state, () => NOW)
    for (const revocations of [here, later]) {
      assert.equal(revocations.isRevoked(session("a", "ada", NOW)), true)
      assert.equal(revocations.isRevoked(session("b", "ada", NOW + 1)), false)
      assert.equal(revocations.isRevoked(session("c", "grace", NOW)), false)
    }
  })

  it("end a user's sessions on one host alone when asked to", async (t) => {
    using here = await SessionRevocations.open(openState(t), () => NOW)
    await here.revokeUser("ada", { host: "example.com" })
    assert.equal(here.isRevoked(session("a")), true)
    const elsewhere = [toUserKey("ada", ""), toUserKey("ada", "other.example")]
    assert.equal(here.isRevoked({ ...session("b"), userKeys: elsewhere }), false)
  })

  it("take any id of a user, however long or odd", async (t) => {
    using revocations = await SessionRevocations.open(openState(t), () => NOW)
    for (const id of ["😀".repeat(127), "__proto__", "a/../b"]) {
      await revocations.revokeUser(id)
      assert.equal(revocations.isRevoked(session("x", id)), true)
    }
  })

  it("hold here also when the store cannot be written, which is said", async (t) => {
    const state = altered(openState(t), { update: () => Promise.reject(new Error("disk full")) })
    using revocations = await SessionRevocations.open(state, () => NOW)
    await assert.rejects(revocations.revokeSession("one", NOW + 1_000), /disk full/)
    assert.equal(revocations.isRevoked(session("one")), true)
  })

  it("take an entry that cannot be read for what ends the most", async (t) => {
    let listener: ChangeListener | undefined
    let partition = ""
    const store = openState(t)
    const state = altered(store, {
      read: () => Promise.reject(new Error("unreadable")),
      watch(added) {
        listener = added
        return () => {}
      },
      load(name) {
        partition = name
        return new Map()
      },
    })
    using revocations = await SessionRevocations.open(state, () => NOW)
    listener!.changed("another", "session:one")
    listener!.changed(partition, "session:one")
    listener!.changed(partition, `user:${toUserKey("grace", "")}`)
    await eventually(() => revocations.isRevoked(session("one")))
    await eventually(() => revocations.isRevoked(session("two", "grace")))
    assert.equal(revocations.isRevoked(session("two")), false)
  })

  it("load everything again when changes may have been missed, until that works", async (t) => {
    let listener: ChangeListener | undefined
    let failures = 1
    const store = openState(t)
    const state = altered(store, {
      watch(added) {
        listener = added
        return () => {}
      },
      load(name) {
        if (listener !== undefined && loaded && failures-- > 0) return Promise.reject(new Error("away"))
        loaded = true
        return store.load(name)
      },
    })
    let loaded = false
    using revocations = await SessionRevocations.open(state, () => NOW)
    using other = await SessionRevocations.open(store, () => NOW)
    await other.revokeSession("one", NOW + 1_000)
    assert.equal(revocations.isRevoked(session("one")), false)
    listener!.reset()
    await eventually(() => revocations.isRevoked(session("one")))
  })

  it("forget what has expired, in memory and in the store", async (t) => {
    const clock = { ms: NOW }
    let removed = 0
    const store = openState(t)
    const state = altered(store, {
      removeExpired(partition, keys, nowMs) {
        const all = [...keys]
        removed += all.length
        return store.removeExpired(partition, all, nowMs)
      },
    })
    using revocations = await SessionRevocations.open(state, () => clock.ms)
    const writes: Promise<void>[] = []
    for (let i = 0; i < 1_000; i++) writes.push(revocations.revokeSession(`old ${i}`, NOW + 1_000))
    clock.ms += 2_000
    for (let i = 0; i < 100; i++) writes.push(revocations.revokeSession(`new ${i}`, clock.ms + 1_000))
    await Promise.all(writes)
    assert.equal(removed, 1_000)
    assert.equal(revocations.isRevoked(session("old 1")), false)
    assert.equal(revocations.isRevoked(session("new 1")), true)
    clock.ms += 2_000
    using _later = await SessionRevocations.open(state, () => clock.ms)
    assert.equal(removed, 1_100)
  })

  it("tell every process, also through a store that always waits", async () => {
    const server = new StateServer()
    await using first = new AsynchronousStore(server)
    await using second = new AsynchronousStore(server)
    using here = await SessionRevocations.open(first, () => NOW)
    using there = await SessionRevocations.open(second, () => NOW)
    await here.revokeSession("one", NOW + 1_000)
    await here.revokeUser("grace")
    await eventually(() => there.isRevoked(session("one")) && there.isRevoked(session("two", "grace")))
    assert.equal(there.isRevoked(session("two")), false)
  })
})
