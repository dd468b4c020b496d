import assert from "node:assert/strict"
import { after, before, describe, it } from "node:test"
import type { ErrorCode } from "../../src/errors.ts"
import { HOSTILE_SCRIPTS } from "../fixtures/guests/hostile-scripts.ts"
import { type ServedChild, serveInChild } from "../support/serve.ts"

/** A word in everything hostile guests send: no client may ever see it. */
const MARK = "guest-said-this"

interface Hostile {
  /** Body of `onRequest(ctx)`. */
  readonly script: string
  readonly code: ErrorCode
  readonly status: 502 | 504
}

const CPU = { code: "E_LIMIT_CPU", status: 504 } as const
const TIME = { code: "E_LIMIT_TIME", status: 504 } as const
const THREW = { code: "E_GUEST_THREW", status: 502 } as const
const SHAPE = { code: "E_GUEST_RESULT_INVALID", status: 502 } as const
const HEADER = { code: "E_HEADER_INVALID", status: 502 } as const
const FORBIDDEN = { code: "E_HEADER_FORBIDDEN", status: 502 } as const
const STATUS = { code: "E_STATUS_INVALID", status: 502 } as const

/** One or two of each kind; test/sandbox/quickjs runs the whole list. */
const HOSTILE: Readonly<Record<string, Hostile>> = {
  spins: { script: HOSTILE_SCRIPTS["empty loop"]!, ...CPU },
  "catches its own interruption": { script: HOSTILE_SCRIPTS["loop that catches its own interruption"]!, ...CPU },
  "spins in a native function": { script: HOSTILE_SCRIPTS["text to big integer"]!, ...CPU },
  "spins in a regular expression": { script: HOSTILE_SCRIPTS["nested quantifiers"]!, ...CPU },
  "recurses at every level": { script: HOSTILE_SCRIPTS["recursion, caught at every level"]!, ...CPU },
  "keeps all it makes": {
    script: "const all = []; for (;;) all.push(new Uint8Array(1e6))",
    code: "E_LIMIT_MEMORY",
    status: 502,
  },
  "floods microtasks": {
    script: "const again = () => queueMicrotask(again); again(); return new Promise(() => {})",
    ...CPU,
  },
  "never settles": { script: "return new Promise(() => {})", ...TIME },
  "waits for a timer that comes too late": {
    script: "return new Promise((done) => setTimeout(done, 60_000))",
    ...TIME,
  },

  "throws an error": { script: `throw new Error("${MARK}")`, ...THREW },
  "throws text": { script: `throw "${MARK}"`, ...THREW },
  "throws nothing": { script: "throw undefined", ...THREW },
  "throws what throws when it is looked at": {
    script: `throw new Proxy({}, { get() { throw new Error("${MARK}") }, getPrototypeOf() { throw 1 } })`,
    ...THREW,
  },
  rejects: { script: `return Promise.reject(new Error("${MARK}"))`, ...THREW },
  "claims to be another failure": {
    script: `throw Object.assign(new Error("${MARK}"), { code: "E_UNAUTHENTICATED", status: 401 })`,
    ...THREW,
  },

  "answers a number": { script: "return 42", ...SHAPE },
  "answers an unknown action": { script: `return { action: "${MARK}" }`, ...SHAPE },
  "answers with getters that throw": {
    script: `return { get action() { throw new Error("${MARK}") } }`,
    ...THREW,
  },
  "answers status 99": { script: `return { action: "respond", status: 99, body: "${MARK}" }`, ...STATUS },
  "answers status 101": { script: `return { action: "respond", status: 101, body: "${MARK}" }`, ...STATUS },
  "answers CR LF in a header": { script: respondWith("x-a", `${MARK}\r\nset-cookie: a=b`), ...HEADER },
  "answers NUL in a header": { script: respondWith("x-a", `${MARK}\0`), ...HEADER },
  "answers a header name with a blank": { script: respondWith(`x-${MARK} y`, "1"), ...HEADER },
  "answers a megabyte header": {
    script: `return { action: "respond", status: 200, headers: { "x-a": "${MARK}".repeat(70_000) } }`,
    code: "E_LIMIT_MESSAGE",
    status: 502,
  },
  "answers a thousand headers": {
    script: 'return { action: "respond", headers: Array.from({ length: 1000 }, (_, i) => ["x-" + i, "1"]) }',
    code: "E_LIMIT_MESSAGE",
    status: 502,
  },
  "answers a huge body": {
    script: `return new Response("${MARK}".repeat(500_000))`,
    code: "E_LIMIT_MESSAGE",
    status: 502,
  },
  "answers with a proxy that never says the same twice": {
    script: "let n = 0; return new Proxy({}, { get: () => n++, has: () => n++ % 2 === 0, ownKeys: () => ['action'] })",
    ...SHAPE,
  },
  "answers Transfer-Encoding": { script: respondWith("transfer-encoding", "chunked"), ...FORBIDDEN },
  "answers Content-Length": { script: respondWith("content-length", "1"), ...FORBIDDEN },
  "answers Set-Cookie": { script: respondWith("set-cookie", "session=1"), ...FORBIDDEN },
  "answers x-bext": { script: respondWith("x-bext-cache", "hit"), ...FORBIDDEN },
  "sets Host": { script: 'ctx.request.setHeader("host", "other.example")', ...FORBIDDEN },
  "sets X-Forwarded-For": { script: 'ctx.request.setHeader("x-forwarded-for", "10.0.0.1")', ...FORBIDDEN },
  "rewrites the path unasked": { script: 'ctx.request.setPath("/index.html")', code: "E_PERMISSION", status: 502 },
  "sets the user unasked": { script: 'ctx.user = { id: "admin", claims: {} }', ...THREW },

  "stores over its quota": {
    script: `for (let i = 0; i < 100; i++) bext.storage.set("key" + i, "${MARK}".repeat(100))`,
    code: "E_LIMIT_STORAGE",
    status: 502,
  },
  "stores under a path": { script: 'bext.storage.set("../../other/key", "x")', code: "E_STORAGE_KEY", status: 502 },
  "fetches what nobody allowed": {
    script: 'return bext.fetch("http://127.0.0.1:1/")',
    code: "E_FETCH_FORBIDDEN",
    status: 502,
  },
}

function respondWith(name: string, value: string): string {
  return `return { action: "respond", status: 200, headers: [[${JSON.stringify(name)}, ${JSON.stringify(value)}]] }`
}

const NEIGHBOUR = `
let count = 0
export function onRequest(ctx) {
  if (ctx.path === "/neighbour") return new Response(String(++count))
}`

/** Each hostile script twice: at /closed/N with the default policy, at /open/N with on_error = "open". */
function project(): { config: string; files: Record<string, string> } {
  const files: Record<string, string> = { "neighbour.js": NEIGHBOUR, "public/page.html": "page" }
  const sections = ['[app]\nstatic = "public"', '[plugins.neighbour]\npath = "neighbour.js"\npriority = 600']
  Object.values(HOSTILE).forEach(({ script }, at) => {
    files[`hostile-${at}.js`] = `export function onRequest(ctx) { ${script} }`
    for (const policy of ["closed", "open"]) {
      sections.push(
        `[plugins.${policy}-${at}]`,
        ...[`path = "hostile-${at}.js"`, `on_error = "${policy}"`, `match = [{ path = "/${policy}/${at}" }]`],
        // In a lane a call may be over time before its turn; each shall fail by its own doing here.
        `lane = "inline"`,
        `[plugins.${policy}-${at}.limits]`,
        ...["max_cpu_ms = 50", "max_time_ms = 1500", "max_memory_mb = 16", "storage_quota_kb = 16"],
      )
      files[`public/${policy}/${at}`] = "page"
    }
  })
  return { config: sections.join("\n"), files }
}

describe("a plugin in the running server that", () => {
  let site: ServedChild
  let answered = 0

  before(async () => {
    const { config, files } = project()
    site = await serveInChild(config, files)
  })
  after(() => site?.[Symbol.asyncDispose]())

  const neighbourStillWorks = async () => {
    const response = await fetch(`${site.url}/neighbour`)
    assert.deepEqual([response.status, await response.text()], [200, String(++answered)])
  }

  Object.entries(HOSTILE).forEach(([deed, { code, status }], at) => {
    it(`${deed} gets ${status} ${code}, again and again, and its neighbour works on`, async () => {
      for (let round = 0; round < 2; round++) {
        const response = await fetch(`${site.url}/closed/${at}`)
        const text = await response.text()
        assert.deepEqual([response.status, JSON.parse(text).code], [status, code], text)
        assert.equal(response.headers.get("content-type"), "application/problem+json")
        const seen = text + JSON.stringify([...response.headers])
        assert.doesNotMatch(seen, new RegExp(`${MARK}|hostile-|onRequest|set-cookie`))
        await neighbourStillWorks()
      }
    })

    it(`${deed} is passed by with on_error = "open"`, async () => {
      const response = await fetch(`${site.url}/open/${at}`)
      assert.deepEqual([response.status, await response.text()], [200, "page"])
      assert.equal(response.headers.get("x-a"), null)
      await neighbourStillWorks()
    })
  })

  it("fails at the same time as all others gets its own failure, and nobody is mistaken for another", async () => {
    const requests = Object.values(HOSTILE).map(async ({ code }, at) => {
      const response = await fetch(`${site.url}/closed/${at}`)
      assert.equal(JSON.parse(await response.text()).code, code, `closed/${at}`)
    })
    const calm = Array.from({ length: 50 }, async () => (await fetch(`${site.url}/page.html`)).text())
    await Promise.all(requests)
    assert.deepEqual(
      await Promise.all(calm),
      Array.from({ length: 50 }, () => "page"),
    )
    await neighbourStillWorks()
  })

  it("failed is in the log with its code and place", () => {
    const failures = site
      .output()
      .split("\n")
      .flatMap((line) => (line.startsWith("{") ? [JSON.parse(line)] : []))
    for (const [at, { code }] of Object.values(HOSTILE).entries()) {
      assert.ok(
        failures.some((line) => line.plugin === `closed-${at}` && line.code === code),
        `closed-${at} ${code}`,
      )
    }
    const thrown = failures.find((line) => line.plugin === `closed-${Object.keys(HOSTILE).indexOf("throws an error")}`)
    assert.match(JSON.stringify(thrown), /guest-said-this.*hostile-\d+\.js:1:\d+/)
    assert.doesNotMatch(
      site.output(),
      /wasm-function|src\/sandbox/,
      "how the host noticed is not the author's business",
    )
  })
})
