import assert from "node:assert/strict"
import { after, describe, it } from "node:test"
import { createJailLauncher } from "../../../src/sandbox/jail/launch/create-jail-launcher.ts"
import { createJailTier } from "../../../src/sandbox/jail/tier.ts"
import { RecordingExchange } from "../../contracts/recording-exchange.ts"
import { RecordingServices } from "../../contracts/recording-services.ts"
import { request } from "../../contracts/sandbox-contract.ts"
import { observe } from "./observing-launcher.ts"
import { writeProgram } from "./write-program.ts"

const MIB = 1024 * 1024
const LIMITS = { memoryBytes: 128 * MIB, messageBytes: MIB, maxInstances: 16 }

const launcher = await createJailLauncher({ sdkFolder: null })
after(() => launcher[Symbol.asyncDispose]())

describe("what bext keeps and takes of a program", () => {
  it("is a few lines of what it has asked for and does not read", async () => {
    const services = new RecordingServices()
    const all = Promise.withResolvers<void>()
    // As many answers at once as there can be, each as long as one can be.
    services.respond = async ({ url }) => {
      if (services.requests.length === 256) all.resolve()
      await all.promise
      return { url, status: 200, headers: [], body: Buffer.alloc(MIB - 1, "x") }
    }
    const observing = observe(launcher)
    using program = writeProgram(`
greet()
call = next_call()
for n in range(256): say(id=n, method="fetch", params={"url": "http://example.com/"}, call=call["id"])
time.sleep(1000)
`)
    await using guest = await createJailTier(observing).load(program.source, services, LIMITS, "shared")
    await guest.ready(null)
    const ended = assert.rejects(async () => guest.call(request(new RecordingExchange("/"))))
    await all.promise
    await new Promise((resolve) => setTimeout(resolve))
    const waiting = observing.jails[0]!.stdin.writableLength
    assert.ok(waiting > 0)
    assert.ok(waiting < 20 * MIB, `${waiting} bytes wait to be read`)
    await guest[Symbol.asyncDispose]()
    await ended
  })

  it("is no more of its log in the time it has to end than before", async () => {
    const services = new RecordingServices()
    let bytes = 0
    services.log = (_, message) => {
      bytes += message.length
    }
    using program = writeProgram(`
greet()
sys.stdin.read()
while True: os.write(2, (b"x" * 1000 + b"\\n") * 60)
`)
    const guest = await createJailTier(launcher).load(program.source, services, LIMITS, "shared")
    await guest.ready(null)
    const startedAtMs = performance.now()
    await guest[Symbol.asyncDispose]()
    const windows = (performance.now() - startedAtMs) / 100 + 2
    assert.ok(bytes > 0)
    assert.ok(bytes < windows * 512 * 1024, `${bytes} bytes in ${windows} tenths of a second`)
  })
})
