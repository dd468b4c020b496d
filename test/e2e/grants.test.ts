import assert from "node:assert/strict"
import { once } from "node:events"
import { readFileSync, writeFileSync } from "node:fs"
import { createServer, type Server } from "node:http"
import type { AddressInfo } from "node:net"
import { after, before, describe, it } from "node:test"
import { runBext } from "../cli/run-bext.ts"
import { freePort } from "../support/free-port.ts"
import { createProject, type ServedChild, serveChild, serveInChild } from "../support/serve.ts"

describe("a plugin that asks for what was not granted", () => {
  const files = {
    "plugins/asker/plugin.toml": `
[manifest]
name = "asker"
version = "1.0.0"
capabilities = ["middleware"]
[permissions]
allowed_urls = ["https://api.example.com/v1/**"]
rewrite_path = true
sensitive_headers = ["cookie"]
`,
    "plugins/asker/index.js": 'export function onRequest(ctx) { ctx.request.setPath("/other.html") }',
    "public/other.html": "rewritten",
    "bext.config.toml": '[server]\nlisten = "127.0.0.1:0"\n[app]\nstatic = "public"\n[plugins.asker]\n',
  }

  it("keeps the server from starting; pasting the block it prints makes it start", async () => {
    using project = createProject(files)
    const config = project.path("bext.config.toml")
    const refused = await runBext(["serve"], { cwd: project.folder })
    assert.equal(refused.code, 1)
    assert.equal(refused.out, "")
    assert.match(refused.err, /error E_GRANT_MISSING: /)
    const [block] = /^ *\[plugins\.asker\.grant\]\n(?: *[\w-]+ = .*\n)+/m.exec(refused.err) ?? []
    assert.ok(block !== undefined, refused.err)
    writeFileSync(config, readFileSync(config, "utf8") + block)
    await using site = await serveChild([], { folder: project.folder })
    assert.equal(await (await fetch(site.url)).text(), "rewritten")
  })

  it("fails bext check with the same block", async () => {
    using project = createProject(files)
    const { code, err } = await runBext(["check"], { cwd: project.folder })
    assert.equal(code, 1)
    assert.match(err, /E_GRANT_MISSING[\s\S]*\[plugins\.asker\.grant\]/)
  })
})

/** Ways to write this machine. Other private addresses are tested where nothing can be dialled: test/host/. */
const PRIVATE_HOSTS = [
  ...["127.0.0.1", "127.1", "2130706433", "0x7f.1", "0177.0.0.1", "0.0.0.0", "localhost", "①27.0.0.1"],
  ...["[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]"],
]

describe("a plugin's fetch", () => {
  let allowed: Listener
  let inner: Listener
  let site: ServedChild

  before(async () => {
    allowed = await listen()
    inner = await listen()
    const own = await freePort()
    const urls = [
      ...[`http://127.0.0.1:${allowed.port}/**`, `http://127.0.0.1:${own}/**`, `http://localhost:${allowed.port}/**`],
      ...PRIVATE_HOSTS.map((host) => `http://${new URL(`http://${host}`).hostname}:${inner.port}/**`),
    ]
    const permissions = [`allowed_urls = ${JSON.stringify([...new Set(urls)])}`, "max_fetch_per_minute = 1000"]
    const config = [
      ...["[app]", 'static = "public"', "[fetch]"],
      `allow_private = ["127.0.0.1:${allowed.port}", "127.0.0.1:${own}"]`,
      ...["[plugins.fetcher]", "[plugins.fetcher.grant]", ...permissions],
    ]
    const manifest = ["[manifest]", 'name = "fetcher"', 'version = "1.0.0"', 'capabilities = ["middleware"]']
    const files = {
      "plugins/fetcher/plugin.toml": [...manifest, "[permissions]", ...permissions].join("\n"),
      "plugins/fetcher/index.js": FETCHER,
    }
    site = await serveInChild(config.join("\n"), files, { env: { PORT: String(own) } })
  })
  after(async () => {
    await site?.[Symbol.asyncDispose]()
    for (const { server } of [allowed, inner]) server.close().closeAllConnections()
  })

  /** What the guest got when it fetched `url`: the body, or the code of the failure. */
  async function fetched(url: string): Promise<string> {
    allowed.requested.length = 0
    const response = await fetch(`${site.url}/?url=${encodeURIComponent(url)}`)
    assert.equal(response.status, 200)
    return await response.text()
  }

  it("reaches an address of this machine that the operator allowed", async () => {
    assert.equal(await fetched(`http://127.0.0.1:${allowed.port}/`), "inner page")
    assert.equal(await fetched(`http://localhost:${allowed.port}/`), "inner page")
  })

  for (const host of PRIVATE_HOSTS) {
    it(`is refused to ${host}, although manifest and grant name it`, async () => {
      assert.equal(await fetched(`http://${host}:${inner.port}/`), "E_FETCH_FORBIDDEN")
      assert.deepEqual(inner.requested, [])
    })
  }

  it("does not follow a redirect from an allowed address to a refused one", async () => {
    const refused = [
      `http://127.0.0.1:${inner.port}/`,
      `http://localhost:${inner.port}/`,
      `${site.url}/`,
      "file:///etc/passwd",
    ]
    for (const to of refused) {
      const url = `http://127.0.0.1:${allowed.port}/?to=${encodeURIComponent(to)}`
      assert.equal(await fetched(url), "E_FETCH_FORBIDDEN", to)
      assert.equal(allowed.requested.length, 1)
    }
    assert.deepEqual(inner.requested, [])
  })

  it("never reaches the server itself, although the operator allowed its address", async () => {
    for (const path of ["/", "/__bext/health"]) {
      assert.equal(await fetched(site.url + path), "E_FETCH_FORBIDDEN")
    }
  })
})

const FETCHER = `
export async function onRequest(ctx) {
  try {
    return new Response(await (await bext.fetch(ctx.searchParams.get("url"))).text())
  } catch (error) {
    return new Response(String(error.code ?? error))
  }
}`

interface Listener {
  readonly server: Server
  readonly port: number
  readonly requested: string[]
}

/** Redirects to where the parameter "to" says, otherwise answers with a page. */
async function listen(): Promise<Listener> {
  const requested: string[] = []
  const server = createServer((request, response) => {
    requested.push(request.url!)
    const location = new URL(request.url!, "http://localhost").searchParams.get("to")
    if (location === null) response.end("inner page")
    else response.writeHead(302, { location }).end()
  }).listen(0, "127.0.0.1")
  await once(server, "listening")
  return { server, port: (server.address() as AddressInfo).port, requested }
}
