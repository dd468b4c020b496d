import assert from "node:assert/strict"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { describe, it } from "node:test"
import { open } from "lmdb"
import { ChangeLog } from "../../src/state/change-log.ts"

const KEY = { partition: "00".repeat(16), key: "a" }

describe("ChangeLog", () => {
  it("keeps batches for ten seconds although the system's clock was set back by hours meanwhile", async (t) => {
    const dir = mkdtempSync(join(tmpdir(), "bext-change-log-"))
    const root = open<Buffer, Buffer>({ path: dir, maxDbs: 2, encoding: "binary", keyEncoding: "binary" })
    t.after(async () => {
      await root.close()
      rmSync(dir, { recursive: true, force: true })
    })
    const [streams, batches] = ["streams", "batches"].map((name) =>
      root.openDB<Buffer, Buffer>({ name, encoding: "binary", keyEncoding: "binary" }),
    )
    let [monotonicMs, wallMs] = [0, Date.now() + 5 * 3_600_000]
    t.mock.method(performance, "now", () => monotonicMs)
    t.mock.method(Date, "now", () => wallMs)
    const log = new ChangeLog(streams!, batches!)
    await root.batch(() => log.append([KEY]))
    wallMs -= 5 * 3_600_000
    for (; monotonicMs < 60_000; monotonicMs += 5_000) await root.batch(() => log.append([KEY]))
    assert.equal(batches!.getCount(), 3)
  })
})
