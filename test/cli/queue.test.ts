import assert from "node:assert/strict"
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { describe, it, type TestContext } from "node:test"
import { openLmdbState } from "../../src/state/open-lmdb-state.ts"
import type { QueueStore } from "../../src/state/state.ts"
import { done, lease, message, SETTINGS } from "../state/queue-project.ts"
import { runBext, temporaryFolder } from "./run-bext.ts"

describe("bext queue", () => {
  it("lists, shows, retries and purges beside a server that has the state open", async (t) => {
    const { cwd, queues } = project(t)
    await queues.push(SETTINGS, message("waits"))
    const dead = await queues.push(SETTINGS, message({ to: "a\u202e\u001b[2J\u009b2J" }, { key: "k", tenant: "acme" }))
    await queues.settle(SETTINGS, [
      { lease: (await lease(queues)).find(({ id }) => id === dead)!, as: "dead", error: "E_GUEST_THREW: \u001b[31mno" },
    ])
    const run = (...args: string[]) => runBext(["queue", ...args], { cwd })

    const [listed] = JSON.parse((await run("list", "--json")).out)
    assert.deepEqual([listed.queue, listed.messages, listed.leased, listed.dead], ["mail", 1, 1, 1])
    assert.match((await run("list")).out, /mail +0 +0 +1 +1 +\d+ s/)

    const shown = await run("show", "mail", "--dead")
    assert.match(shown.out, new RegExp(`^${dead}  pushed .*1 attempts.*key "k"  tenant acme`))
    assert.match(shown.out, /E_GUEST_THREW/)
    const json = (await run("show", "mail", "--dead", "--json")).out
    assert.deepEqual(JSON.parse(JSON.parse(json)[0].value), { to: "a\u202e\u001b[2J\u009b2J" })
    assert.equal(JSON.parse(json)[0].id, dead)
    // biome-ignore lint/suspicious/noControlCharactersInRegex: none may get through
    for (const out of [shown.out, json]) assert.doesNotMatch(out, /[\u001b\u009b\u202e]/)

    assert.equal((await run("retry", "mail", dead)).code, 0)
    const [back] = await lease(queues)
    assert.equal(back!.id, dead)
    await done(queues, [back!])

    assert.match((await run("purge", "mail")).err, /add --yes/)
    assert.equal((await run("purge", "mail", "--yes")).out, "1 removed from mail\n")
    assert.equal((await queues.list())[0]!.messages, 0)
    assert.equal((await run("purge", "mail", "--dead", "--yes")).out, "0 removed from mail\n")
  })

  it("says what is missing: the name, the letter, the queue, the state", async (t) => {
    const { cwd, queues } = project(t)
    await queues.push(SETTINGS, message(1))
    const run = (...args: string[]) => runBext(["queue", ...args], { cwd })
    assert.match((await run("show")).err, /the name of the queue is missing/)
    assert.match((await run("retry", "mail")).err, /bext queue retry mail --all/)
    assert.match((await run("retry", "mail", "0".repeat(24))).err, /mail has no dead letter/)
    assert.match((await run("show", "male")).err, /there is no queue "male"\n {2}there are: mail/)
    writeFileSync(join(cwd, "bext.config.toml"), 'state.dir = "elsewhere"\n')
    const absent = await run("list")
    assert.equal(absent.code, 2)
    assert.match(absent.err, /no server has run with .*elsewhere yet/)
  })
})

function project(t: TestContext): { cwd: string; queues: QueueStore } {
  const cwd = temporaryFolder(t)
  writeFileSync(join(cwd, "bext.config.toml"), "")
  const state = openLmdbState({ dir: join(cwd, ".bext"), log: { error() {} } })
  t.after(() => state[Symbol.asyncDispose]())
  return { cwd, queues: state.queues }
}
