import assert from "node:assert/strict"
import { describe, it } from "node:test"
import { createConfig } from "../../src/config/parse-config.ts"
import { changedProcessFields } from "../../src/snapshot/process-fields.ts"

const config = (input: Parameters<typeof createConfig>[0], env: Record<string, string> = {}) =>
  createConfig(input, { folder: "/site", env })

describe("the fields that a snapshot cannot change", () => {
  it("are none between equal configurations", () => {
    const input = { server: { listen: "127.0.0.1:80", trusted_proxies: ["10.0.0.0/8"] } }
    assert.deepEqual(changedProcessFields(config(input), config(input)), [])
  })

  it("are named with their tables", () => {
    const old = config({ server: { listen: "127.0.0.1:80", limits: { body: "1mb" } } })
    const next = config({
      server: { listen: "127.0.0.1:81", limits: { body: "2mb" }, identity_headers: ["x-user"] },
      log: { level: "debug" },
      sandbox: { max_instances: 10, ceilings: { max_cpu_ms: 10 } },
      state: { dir: "elsewhere" },
    })
    assert.deepEqual(changedProcessFields(old, next), [
      "server.listen",
      "server.identity_headers",
      "server.limits.body",
      "log.level",
      "state.dir",
      "sandbox.max_instances",
    ])
  })

  it("are a whole section when it was not there before", () => {
    const without = { ...config({}) }
    const changed = changedProcessFields({ ...without, admin: undefined } as never, config({}))
    assert.deepEqual(changed, ["admin"])
  })

  it("do not include whether requests are logged, nor anything outside those sections", () => {
    const next = config({
      log: { access: false },
      app: { upstream: "http://127.0.0.1:1" },
      fetch: { allow_private: ["10.0.0.1:80"] },
    })
    assert.deepEqual(changedProcessFields(config({}), next), [])
  })
})
