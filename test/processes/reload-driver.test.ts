import assert from "node:assert/strict"
import { Writable } from "node:stream"
import { describe, it } from "node:test"
import { BextError } from "../../src/errors.ts"
import type { ConfigSource } from "../../src/processes/config-source.ts"
import { ReloadDriver } from "../../src/processes/reload-driver.ts"
import { createLogger } from "../../src/telemetry/log.ts"

const SOURCE: ConfigSource = { kind: "options", folder: "/", input: {} }

/** A driver whose reloads end when the test says so. */
function createDriver() {
  const begun: PromiseWithResolvers<void>[] = []
  let log = ""
  const destination = new Writable({
    write(chunk, _encoding, done) {
      log += chunk
      done()
    },
  })
  const driver = new ReloadDriver({
    source: SOURCE,
    logger: createLogger({ level: "info", format: "json", access: false }, destination),
    async apply() {
      const reload = Promise.withResolvers<void>()
      begun.push(reload)
      await reload.promise
      return { snapshot: begun.length, loaded: [], kept: [], removed: [], replaced: false }
    },
  })
  return { driver, begun, log: () => log }
}

const outcome = ({ last }: ReloadDriver) => [last?.ok, last?.by]

const settled = () => new Promise((resolve) => setImmediate(resolve))

describe("ReloadDriver", () => {
  it("makes one reload of all that are asked for while one is under way", async () => {
    const { driver, begun } = createDriver()
    const first = driver.reload("SIGHUP")
    await settled()
    const others = Array.from({ length: 50 }, () => driver.reload("admin"))
    await settled()
    assert.equal(begun.length, 1)
    begun[0]!.resolve()
    assert.equal((await first).snapshot, 1)
    await settled()
    assert.equal(begun.length, 2)
    begun[1]!.resolve()
    for (const report of await Promise.all(others)) assert.equal(report.snapshot, 2)
    assert.equal(begun.length, 2)
  })

  it("remembers and logs what came of the last one, and goes on after a failure", async () => {
    const { driver, begun, log } = createDriver()
    assert.equal(driver.last, null)
    const first = driver.reload("SIGHUP")
    const second = settled().then(() => driver.reload("admin"))
    await settled()
    begun[0]!.reject(new BextError("E_CONFIG_INVALID", "nonsense"))
    await assert.rejects(first, { code: "E_CONFIG_INVALID" })
    assert.deepEqual(outcome(driver), [false, "SIGHUP"])
    await settled()
    begun[1]!.resolve()
    await second
    assert.deepEqual(outcome(driver), [true, "admin"])
    assert.match(log(), /"level":"error".*"by":"SIGHUP".*nothing was reloaded.*nonsense/)
    assert.match(log(), /"level":"info".*"by":"admin".*the configuration was reloaded/)
  })
})
