import assert from "node:assert/strict"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { test } from "node:test"
import { Breaker } from "../../src/plugins/breaker.ts"
import { QuarantineBook } from "../../src/plugins/quarantine.ts"
import { openLmdbStore } from "../../src/state/lmdb-store.ts"
import type { KeyValueStore } from "../../src/state/state.ts"

const SILENT = { error() {} }
const newBreaker = () => new Breaker({ tripped() {}, recovered() {} })

async function withFolder(run: (dir: string, open: () => KeyValueStore) => Promise<void>): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), "bext-test-"))
  const stores: KeyValueStore[] = []
  const open = () => {
    const store = openLmdbStore({ dir, log: SILENT })
    stores.push(store)
    return store
  }
  try {
    await run(dir, open)
  } finally {
    for (const store of stores) await store[Symbol.asyncDispose]()
    rmSync(dir, { recursive: true, force: true })
  }
}

test("an operator's quarantine is still there after a restart", () =>
  withFolder(async (_dir, open) => {
    const store = open()
    await using before = await QuarantineBook.open(store)
    await before.quarantine("shop", "leaks prices")
    await store[Symbol.asyncDispose]()

    await using after = await QuarantineBook.open(open())
    const breaker = newBreaker()
    after.attach("shop", breaker)
    assert.equal(breaker.status?.by, "operator")
    assert.equal(breaker.status?.reason, "leaks prices")
  }))

test("quarantine and release reach every snapshot of the process, and nobody after detaching", () =>
  withFolder(async (_dir, open) => {
    await using book = await QuarantineBook.open(open())
    const [one, two, gone, other] = [newBreaker(), newBreaker(), newBreaker(), newBreaker()]
    book.attach("shop", one)
    book.attach("shop", two)
    book.attach("shop", gone)()
    book.attach("shop-2", other)
    await book.quarantine("shop", "why not")
    assert.deepEqual(
      [one, two, gone, other].map((breaker) => breaker.status?.by),
      ["operator", "operator", undefined, undefined],
    )
    await book.release("shop")
    assert.equal(one.status, null)
    assert.equal(two.status, null)
  }))

test("a release also ends what the breaker decided", () =>
  withFolder(async (_dir, open) => {
    await using book = await QuarantineBook.open(open())
    const breaker = newBreaker()
    book.attach("shop", breaker)
    for (let i = 0; i < 50; i++) breaker.failed("on_request", "E_GUEST_THREW", `192.0.2.${i}`, 0)
    assert.equal(breaker.status?.by, "breaker")
    await book.release("shop")
    assert.equal(breaker.status, null)
  }))

test("a reason is kept to a bounded length", () =>
  withFolder(async (_dir, open) => {
    await using book = await QuarantineBook.open(open())
    const breaker = newBreaker()
    book.attach("shop", breaker)
    await book.quarantine("shop", "x".repeat(100_000))
    assert.equal(breaker.status?.reason.length, 500)
  }))
