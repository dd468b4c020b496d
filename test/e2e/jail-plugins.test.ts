import assert from "node:assert/strict"
import { readFileSync } from "node:fs"
import { describe, it } from "node:test"
import { setTimeout as delay } from "node:timers/promises"
import { childrenOf, processesWith, until } from "../sandbox/jail/launch/traces.ts"
import { missingForPython } from "../sdk/missing-for-jail.ts"
import { serveInChild } from "../support/serve.ts"

const SCORER = `
import bext

@bext.on_request
async def score(ctx):
    number = int(ctx.path.rpartition("/")[2])
    status = 403 if number % 10 == 0 else 200
    return bext.respond(status, f"{number} scores {number * 7 % 100}")

bext.run()
`

const VICTIM = `
import bext

@bext.on_request
def answer(ctx):
    return bext.respond(200, "still here")

bext.run()
`

const manifest = (name: string) => `
[manifest]
name = "${name}"
version = "1.0.0"
capabilities = ["middleware"]
entry = "${name}.py"
[sandbox]
type = "nsjail"
interpreter = "/usr/bin/python3"
`

const FILES = {
  "plugins/scorer/plugin.toml": manifest("scorer"),
  "plugins/scorer/scorer.py": SCORER,
  "plugins/victim/plugin.toml": manifest("victim"),
  "plugins/victim/victim.py": VICTIM,
}

const CONFIG = `
[plugins.scorer]
match = [{ path = "/orders/**" }]
[plugins.victim]
match = [{ path = "/victim/**" }]
`

const SERVED = "200 still here"
const KILLS = 20
const CLIENTS = 8

describe("programs as plugins of a server", { skip: missingForPython() }, () => {
  it("are answered by one as if nothing happened while the jail of another is killed again and again", async () => {
    await using server = await serveInChild(CONFIG, FILES)
    let over = false
    let scored = 0
    const score = async (client: number) => {
      for (let n = client; !over; n += CLIENTS) {
        const response = await fetch(new URL(`/orders/${n}`, server.url))
        const text = await response.text()
        assert.deepEqual([response.status, text], [n % 10 === 0 ? 403 : 200, `${n} scores ${(n * 7) % 100}`])
        scored++
      }
    }
    const seen = new Map<string, number>()
    const visit = async () => {
      while (!over) {
        const answer = await visitVictim(server.url)
        seen.set(answer, (seen.get(answer) ?? 0) + 1)
      }
    }
    const all = Promise.all([...Array.from({ length: CLIENTS }, (_, client) => score(client)), visit(), visit()])
    all.catch(() => {})
    try {
      for (let kills = 0; kills < KILLS; kills++) {
        // One that is killed before it has done anything is started again later and later.
        const served = seen.get(SERVED) ?? 0
        assert.ok(await until(() => (seen.get(SERVED) ?? 0) > served), "the plugin did not recover")
        for (const pid of programs("/plugin/victim.py")) process.kill(pid, "SIGKILL")
      }
    } finally {
      over = true
    }
    await all
    assert.ok(scored > 500, `${scored} requests were scored`)
    const answers = [...seen.keys()].filter(
      (answer) => !/^(200 still here|502 E_(GUEST_CRASHED|INSTANCE_RESET))$/.test(answer),
    )
    assert.deepEqual(answers, [])
    assert.ok([...seen.keys()].some((answer) => answer.startsWith("502 ")))
    await recovers(server.url)
  })

  it("leave no process of any jail when the whole server is killed", async () => {
    await using server = await serveInChild(CONFIG, FILES, { processes: 2 })
    await recovers(server.url)
    const jailed = ["/plugin/victim.py", "/plugin/scorer.py"].flatMap(processesWith)
    assert.ok(jailed.length >= 4, jailed.join(" "))
    const others = childrenOf(server.pid).map(Number)
    assert.ok(others.length >= 2, "it has serving processes")
    for (const pid of [server.pid, ...others]) process.kill(pid, "SIGKILL")
    assert.ok(await until(() => processesOf(jailed).length === 0), "some are left")
  })
})

async function visitVictim(url: string): Promise<string> {
  const response = await fetch(new URL("/victim/", url), { headers: { accept: "application/json" } })
  const text = await response.text()
  return `${response.status} ${response.ok ? text : (JSON.parse(text) as { code: string }).code}`
}

async function recovers(url: string): Promise<void> {
  for (let i = 0; i < 200; i++) {
    if ((await visitVictim(url)) === SERVED) return
    await delay(50)
  }
  assert.fail("the plugin did not recover")
}

/** Those that run it, without the shell and bubblewrap around them. */
function programs(entry: string): number[] {
  return processesWith(entry).filter((pid) => read(`/proc/${pid}/cmdline`).split("\0")[0] === "/usr/bin/python3")
}

/** Those of them that are still what they were. */
function processesOf(pids: readonly number[]): number[] {
  return pids.filter((pid) => /plugin\/(victim|scorer)\.py/.test(read(`/proc/${pid}/cmdline`)))
}

function read(path: string): string {
  try {
    return readFileSync(path, "utf8")
  } catch {
    return ""
  }
}
