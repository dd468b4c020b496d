import assert from "node:assert/strict"
import { readFileSync } from "node:fs"
import { after, describe, it } from "node:test"
import { createJailLauncher } from "../../../src/sandbox/jail/launch/create-jail-launcher.ts"
import type { JailLauncher } from "../../../src/sandbox/jail/launcher.ts"
import { createJailTier } from "../../../src/sandbox/jail/tier.ts"
import { RecordingExchange } from "../../contracts/recording-exchange.ts"
import { RecordingServices } from "../../contracts/recording-services.ts"
import { answer, LIMITS, request } from "../../contracts/sandbox-contract.ts"
import { cgroupsOf, childrenOf, openDescriptors, processesWith } from "./launch/traces.ts"
import { writeProgram } from "./write-program.ts"

const STARTS = 1000
const AT_ONCE = 4
const MIB = 1024 * 1024

const launcher = await createJailLauncher({ sdkFolder: null })
after(() => launcher[Symbol.asyncDispose]())

describe("a thousand starts", () => {
  it("leave no process, zombie, cgroup, mount or descriptor, however each of them ended", async () => {
    using program = writeProgram("")
    const { folder } = program.source
    const mark = `one-of-a-thousand-${process.pid}`
    const before = traces(mark)
    const ends = [
      "exit 0",
      "exit 3",
      "kill -9 $$",
      "sleep 1000 & sleep 1000 & exit 0",
      "sleep 1000 & echo ready; wait",
      "echo ready; exec sleep 1000",
    ]
    let started = 0
    const startSome = async () => {
      while (started < STARTS) await startAndEnd(launcher, folder, ends[started++ % ends.length]!, mark)
    }
    await Promise.all(Array.from({ length: AT_ONCE }, startSome))
    assert.deepEqual(traces(mark), before)
  })

  it("of a program that ends in every call leave nothing either, and each call says how it ended", async () => {
    using program = writeProgram("greet()\nserve(lambda call, path: os._exit(7))\n")
    const limits = { ...LIMITS, memoryBytes: 64 * MIB }
    await using guest = await createJailTier(launcher).load(program.source, new RecordingServices(), limits, "shared")
    await guest.ready(null)
    assert.equal((await answer(guest, "/calm")).answer, null)
    const before = traces(null)
    for (let i = 0; i < 50; i++) {
      const call = guest.call(request(new RecordingExchange("/")))
      await assert.rejects(async () => call, { code: "E_GUEST_CRASHED", message: /status 7/ })
    }
    // A new one is there, whose traces are those of the first.
    await answer(guest, "/calm")
    assert.deepEqual(traces(null), before)
    assert.equal(guest.generation, 50)
  })
})

/** By themselves, or once they have said that they are there. */
async function startAndEnd(launcher: JailLauncher, folder: string, script: string, mark: string): Promise<void> {
  const jail = await launcher.launch({
    name: "brief",
    command: ["/bin/sh", "-c", script, mark],
    folder,
    dataFolder: null,
    readOnlyPaths: [],
    env: {},
    limits: { memoryBytes: 64 * MIB, cpus: 1, pids: 16, openFiles: 64, fileBytes: MIB, tmpBytes: MIB },
  })
  jail.stdout.once("data", () => jail.kill())
  jail.stderr.resume()
  await jail.exited
}

/** What is there of this process and its jails; the same before and after. */
function traces(mark: string | null) {
  return {
    marked: mark === null ? [] : processesWith(mark),
    children: childrenOf(process.pid).length,
    cgroups: cgroupsOf(process.pid).length,
    descriptors: openDescriptors().length,
    mounts: readFileSync("/proc/self/mountinfo", "utf8").split("\n").length,
  }
}
