import assert from "node:assert/strict"
import { describe, it } from "node:test"
import { createProject, type ServedChild, serveChild } from "../support/serve.ts"

/** `/set?n=N` keeps the value of N and answers once it is flushed; `/all` gives everything kept, and what is not whole. */
const LEDGER = `
const valueOf = (n) => n + "|" + String.fromCharCode(97 + n % 26).repeat(500 + n % 3000) + "|" + n
export async function onRequest(ctx) {
  if (ctx.path === "/set") {
    const n = Number(ctx.searchParams.get("n"))
    bext.storage.set("n" + n, valueOf(n))
    bext.storage.set("latest", valueOf(n))
    await bext.storage.incr("count")
    await bext.storage.flush()
    return new Response("kept")
  }
  const kept = bext.storage.keys("n").map((key) => Number(key.slice(1)))
  const torn = kept.filter((n) => bext.storage.get("n" + n) !== valueOf(n))
  const latest = bext.storage.get("latest") ?? valueOf(0)
  if (latest !== valueOf(parseInt(latest))) torn.push("latest")
  return Response.json({ kept, torn, count: Number(bext.storage.get("count") ?? 0) })
}`

const FILES = {
  "bext.config.toml": `
[server]
listen = "127.0.0.1:0"
grace = "1s"
[log]
level = "error"
[plugins.ledger]
path = "ledger.js"
[plugins.ledger.limits]
storage_quota_kb = 16384
`,
  "ledger.js": LEDGER,
}

interface Kept {
  readonly kept: number[]
  readonly torn: unknown[]
  readonly count: number
}

const ROUNDS = 5
const WRITERS = 6
const ANSWERS_PER_ROUND = 40

describe("storage of a server that is killed between writes, again and again", () => {
  it("keeps every key that was flushed before the client got its answer, and no value is torn", async () => {
    using project = createProject(FILES)
    const answered = new Set<number>()
    let sent = 0
    for (let round = 0; round < ROUNDS; round++) {
      await using server = await serveChild([], { folder: project.folder })
      check(await all(server), answered, sent)
      const next = () => ++sent
      await Promise.all(Array.from({ length: WRITERS }, () => writeUntilKilled(server, next, answered, round)))
      assert.ok(answered.size >= (round + 1) * ANSWERS_PER_ROUND)
    }
    await using server = await serveChild([], { folder: project.folder })
    check(await all(server), answered, sent)
  })

  it("keeps what was flushed when it ends well, and what was only set too", async () => {
    using project = createProject({
      ...FILES,
      "ledger.js": `export function onRequest(ctx) {
        if (ctx.path === "/set") bext.storage.set("key", "value")
        return new Response(bext.storage.get("key") ?? "nothing")
      }`,
    })
    await using first = await serveChild([], { folder: project.folder })
    assert.equal(await (await fetch(`${first.url}/`)).text(), "nothing")
    assert.equal(await (await fetch(`${first.url}/set`)).text(), "value")
    assert.equal(await first.end("SIGTERM"), 0)
    await using second = await serveChild([], { folder: project.folder })
    assert.equal(await (await fetch(`${second.url}/`)).text(), "value")
  })
})

/** Writes one number after another; whoever gets the last answer of the round kills the server. */
async function writeUntilKilled(server: ServedChild, next: () => number, answered: Set<number>, round: number) {
  for (;;) {
    const n = next()
    try {
      const response = await fetch(`${server.url}/set?n=${n}`)
      assert.deepEqual([response.status, await response.text()], [200, "kept"])
    } catch (error) {
      if (error instanceof assert.AssertionError) throw error
      return
    }
    answered.add(n)
    if (answered.size === (round + 1) * ANSWERS_PER_ROUND) process.kill(server.pid, "SIGKILL")
  }
}

async function all({ url }: ServedChild): Promise<Kept> {
  const response = await fetch(`${url}/all`)
  const text = await response.text()
  assert.equal(response.status, 200, text)
  return JSON.parse(text) as Kept
}

function check({ kept, torn, count }: Kept, answered: ReadonlySet<number>, sent: number): void {
  assert.deepEqual(torn, [])
  assert.deepEqual(
    [...answered].filter((n) => !kept.includes(n)),
    [],
    "lost",
  )
  assert.ok(count >= answered.size && count <= sent, `counted ${count} of ${answered.size} answered, ${sent} sent`)
}
