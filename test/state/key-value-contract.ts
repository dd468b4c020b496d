import assert from "node:assert/strict"
import { it } from "node:test"
import type { KeyValueStore, Stored } from "../../src/state/state.ts"

export const PARTITION = "00112233445566778899aabbccddeeff"
const OTHER = "00112233445566778899aabbccddef00"

/** What every driver does. `open` gives an empty store each time. */
export function keyValueContract(driver: string, open: () => Promise<KeyValueStore>): void {
  it(`${driver} gives back text and bytes as they were written`, async () => {
    await using store = await open()
    const bytes = Uint8Array.from({ length: 256 }, (_, i) => i)
    await store.write(
      PARTITION,
      new Map([
        ["text", entry("grüße\u0000😀")],
        ["bytes", entry(bytes, 42)],
        ["empty", entry("")],
        ["nothing", entry(new Uint8Array(0))],
      ]),
    )
    const all = await store.load(PARTITION)
    assert.deepEqual(all.get("text"), entry("grüße\u0000😀"))
    assert.deepEqual(all.get("bytes"), entry(bytes, 42))
    assert.deepEqual(all.get("empty"), entry(""))
    assert.deepEqual(all.get("nothing"), entry(new Uint8Array(0)))
    assert.equal(all.size, 4)
    assert.deepEqual(await store.read(PARTITION, "bytes"), entry(bytes, 42))
    assert.equal(await store.read(PARTITION, "absent"), undefined)
  })

  it(`${driver} keeps partitions apart, neighbours in key order too`, async () => {
    await using store = await open()
    await store.write(PARTITION, new Map([["key", entry("mine")]]))
    await store.write(OTHER, new Map([["key", entry("theirs")]]))
    assert.deepEqual([...(await store.load(PARTITION))], [["key", entry("mine")]])
    await store.write(PARTITION, new Map([["key", null]]))
    assert.equal((await store.load(PARTITION)).size, 0)
    assert.deepEqual(await store.read(OTHER, "key"), entry("theirs"))
  })

  it(`${driver} takes any key of 512 bytes, also names that objects inherit`, async () => {
    await using store = await open()
    const keys = ["__proto__", "constructor", "é".repeat(256), "k".repeat(512), "😀", " "]
    await store.write(PARTITION, new Map(keys.map((key) => [key, entry(key)])))
    const all = await store.load(PARTITION)
    for (const key of keys) assert.deepEqual(all.get(key), entry(key))
  })

  it(`${driver} applies writes in the order they were made`, async () => {
    await using store = await open()
    const writes: Promise<void>[] = []
    for (let i = 0; i < 200; i++) writes.push(store.write(PARTITION, new Map([["key", entry(String(i))]])))
    await Promise.all(writes)
    assert.deepEqual(await store.read(PARTITION, "key"), entry("199"))
  })

  it(`${driver} updates one key atomically, after earlier writes`, async () => {
    await using store = await open()
    const written = store.write(PARTITION, new Map([["n", entry("5")]]))
    const add = (current: Stored | undefined) => entry(String(Number(current?.value ?? "0") + 1))
    await Promise.all(Array.from({ length: 50 }, () => store.update(PARTITION, "n", add)))
    await written
    assert.deepEqual(await store.read(PARTITION, "n"), entry("55"))
    await store.update(PARTITION, "n", () => undefined)
    assert.deepEqual(await store.read(PARTITION, "n"), entry("55"))
    await store.update(PARTITION, "n", () => null)
    assert.equal(await store.read(PARTITION, "n"), undefined)
  })

  it(`${driver} passes on what an update throws and changes nothing`, async () => {
    await using store = await open()
    await store.write(PARTITION, new Map([["a", entry("1")]]))
    const refusal = new Error("no")
    const update = store.update(PARTITION, "a", () => {
      throw refusal
    })
    await assert.rejects(update, refusal)
    assert.deepEqual(await store.read(PARTITION, "a"), entry("1"))
  })

  it(`${driver} removes expired keys, but not one that was set anew meanwhile`, async () => {
    await using store = await open()
    await store.write(
      PARTITION,
      new Map([
        ["old", entry("1", 100)],
        ["anew", entry("2", 300)],
        ["never", entry("3")],
      ]),
    )
    await store.removeExpired(PARTITION, ["old", "anew", "never", "absent"], 200)
    assert.deepEqual([...(await store.load(PARTITION)).keys()].sort(), ["anew", "never"])
  })

  it(`${driver} refuses work after it was disposed`, async () => {
    const store = await open()
    await store[Symbol.asyncDispose]()
    await store[Symbol.asyncDispose]()
    await assert.rejects(store.write(PARTITION, new Map([["a", entry("b")]])), { code: "E_STATE_UNAVAILABLE" })
    await assert.rejects(
      store.update(PARTITION, "a", () => null),
      { code: "E_STATE_UNAVAILABLE" },
    )
  })
}

export function entry(value: string | Uint8Array, expiresAtMs = 0): Stored {
  return { value, expiresAtMs }
}
