import assert from "node:assert/strict"
import { createHmac } from "node:crypto"
import { cpSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { after, before, describe, it, type TestContext } from "node:test"
import { fileURLToPath } from "node:url"
import { createWasmTier } from "../../src/sandbox/wasm/tier.ts"
import { loadPlugin } from "../../src/testing.ts"
import type { TestOptions } from "../../src/testing-api.ts"
import { runBext, temporaryFolder } from "../cli/run-bext.ts"
import { RecordingExchange } from "../contracts/recording-exchange.ts"
import { RecordingServices } from "../contracts/recording-services.ts"
import { LIMITS, request } from "../contracts/sandbox-contract.ts"

/** The examples that every SDK has. */
export const EXAMPLES = ["hello-header", "jwt-claims-to-headers", "image-resize-url"] as const
export type Example = (typeof EXAMPLES)[number]

export interface ExampleSdk {
  /** Its folder in sdk/. */
  readonly language: string
  /** Why its toolchain cannot be used here. */
  readonly skip: string | false
  /** Compiles in `folder`, a copy of the example's own, and leaves `plugin.wasm` there. */
  build(folder: string, example: Example): void | Promise<void>
}

/** What sdk/README.md says of the three examples, over HTTP. */
export function exampleBehaviour(sdk: ExampleSdk): void {
  describe(`examples in ${sdk.language}`, { skip: sdk.skip }, () => {
    let root: string
    before(async () => {
      root = mkdtempSync(join(tmpdir(), "bext-sdk-"))
      for (const example of EXAMPLES) {
        const folder = join(root, example)
        cpSync(exampleFolder(sdk.language, example), folder, { recursive: true })
        await sdk.build(folder, example)
      }
    })
    after(() => rmSync(root, { recursive: true, force: true }))
    const load = (example: Example, options?: TestOptions) => loadPlugin(join(root, example), options)
    describeFiles(sdk.language)
    it("pass bext check", (t) => checkAll(root, t))
    it("are as small as the documentation says", () => checkSizes(sdk.language, root))
    it("do not grow with the requests they serve: after 100,000 as little memory as after 10,000", () =>
      checkMemory(join(root, "hello-header")))
    describeHello(load)
    describeJwt(load)
    describeImages(load)
  })
}

export function exampleFolder(language: string, example: Example): string {
  return fileURLToPath(new URL(`../../sdk/${language}/examples/${example}`, import.meta.url))
}

type Load = (example: Example, options?: TestOptions) => ReturnType<typeof loadPlugin>

/** What the app got: its answer is the request as JSON. */
interface Seen {
  readonly path: string
  readonly query: string
  readonly headers: Readonly<Record<string, string>>
}

const app = (request: Request) => {
  const { pathname, search } = new URL(request.url)
  return Response.json({ path: decodeURI(pathname), query: search, headers: Object.fromEntries(request.headers) })
}

async function seen(response: Response): Promise<Seen> {
  const text = await response.text()
  assert.equal(response.status, 200, text)
  return JSON.parse(text)
}

function describeFiles(language: string): void {
  it("have the manifests and settings of the same plugins in C", () => {
    for (const example of EXAMPLES) {
      for (const file of ["plugin.toml", "config.schema.json"]) {
        const text = (language: string) => readFileSync(join(exampleFolder(language, example), file), "utf8")
        assert.equal(text(language), text("c"), `${example}/${file}`)
      }
    }
  })
}

async function checkAll(root: string, t: TestContext): Promise<void> {
  const folder = temporaryFolder(t)
  const tables = EXAMPLES.map((example) => `[plugins.${example}]\npath = "plugins/${example}"\n`)
  for (const example of EXAMPLES) {
    for (const file of ["plugin.toml", "config.schema.json", "plugin.wasm"]) {
      cpSync(join(root, example, file), join(folder, "plugins", example, file))
    }
  }
  tables.push('[plugins.jwt-claims-to-headers.grant]\nsensitive_headers = ["authorization"]\n')
  tables.push('[plugins.jwt-claims-to-headers.secrets]\nJWT_SECRET = "env:SECRET"\n')
  tables.push("[plugins.image-resize-url.grant]\nrewrite_path = true\n")
  tables.push('[plugins.image-resize-url.secrets]\nIMAGE_KEY = "env:SECRET"\nIMAGE_SALT = "env:SECRET"\n')
  writeFileSync(join(folder, "bext.config.toml"), tables.join(""))
  const { code, out, err } = await runBext(["check"], { cwd: folder, env: { SECRET } })
  assert.deepEqual([code, err], [0, ""], out)
}

/** Rows of the table in sdk/README.md: `| language | KiB | KiB | KiB |`, at most, in the order of EXAMPLES. */
function checkSizes(language: string, root: string): void {
  const rows = readFileSync(new URL("../../sdk/README.md", import.meta.url), "utf8").matchAll(
    /^\| (\w+) \|([ \d|]+)$/gm,
  )
  const row = Array.from(rows).find(([, name]) => name === language)
  const most = row?.[2]?.split("|").filter((cell) => cell.trim() !== "")
  const sizes = EXAMPLES.map((example) => Math.ceil(statSync(join(root, example, "plugin.wasm")).size / 1024))
  const fits = most?.length === sizes.length && sizes.every((size, i) => size <= Number(most[i]))
  assert.ok(fits, `they have ${sizes.join(", ")} KiB; sdk/README.md says ${most?.join() ?? "nothing"}`)
}

class HelloServices extends RecordingServices {
  override readonly config = { greeting: "hello", request_header: "x-hello-from", response_header: "x-hello" }
}

/** Calls the hooks of one shared instance, without a server. */
async function checkMemory(folder: string): Promise<void> {
  const source = { name: "hello-header", folder, entry: join(folder, "plugin.wasm") }
  await using guest = await createWasmTier().load(source, new HelloServices(), LIMITS, "shared")
  await guest.ready(null)
  const serve = (requests: number) => {
    for (let i = 0; i < requests; i++) {
      const exchange = new RecordingExchange("/")
      guest.call(request(exchange))
      guest.call({ ...request(exchange), hook: "on_response" })
      assert.equal(exchange.lists.response.get("x-hello"), "hello, world")
    }
  }
  serve(10_000)
  const { memoryBytes } = guest
  serve(90_000)
  // A leak would be ten times as large; a garbage collector may find its size only now.
  assert.ok(guest.memoryBytes <= 2 * memoryBytes, `${memoryBytes} bytes became ${guest.memoryBytes}`)
  assert.equal(guest.generation, 0)
}

function describeHello(load: Load): void {
  describe("hello-header", () => {
    it("greets the app and the client", async () => {
      await using plugin = await load("hello-header", { app })
      const response = await plugin.request("/")
      assert.equal(response.headers.get("x-hello"), "hello, world")
      assert.equal((await seen(response)).headers["x-hello-from"], "bext says hello")
    })

    it("greets with the word and in the headers it is told", async () => {
      const config = { greeting: "Guten Tag", request_header: "X-Gruss", response_header: "X-Antwort" }
      await using plugin = await load("hello-header", { app, config })
      const response = await plugin.request("/", { headers: { "x-gruss": "mine" } })
      assert.equal(response.headers.get("x-antwort"), "Guten Tag, world")
      assert.equal(response.headers.get("x-hello"), null)
      assert.equal((await seen(response)).headers["x-gruss"], "bext says Guten Tag")
    })

    it("greets by name, unless the name is empty or too long", async () => {
      await using plugin = await load("hello-header", { app })
      const greeted = async (name: string) =>
        (await plugin.request("/", { headers: { "x-name": name } })).headers.get("x-hello")
      assert.equal(await greeted("Ada"), "hello, Ada")
      assert.equal(await greeted("a".repeat(64)), `hello, ${"a".repeat(64)}`)
      assert.equal(await greeted("a".repeat(65)), "hello, world")
      assert.equal(await greeted(""), "hello, world")
    })
  })
}

const SECRET = "a secret of the tests, 32 bytes and more"

const base64url = (text: string | Buffer) => Buffer.from(text).toString("base64url")
const signed = (input: string, key: string, hash = "sha256") =>
  `${input}.${createHmac(hash, key).update(input).digest("base64url")}`
const now = () => Math.floor(Date.now() / 1000)

/** @param claims - JSON text stays as it is. */
function token(claims: object | string, header: object | string = { alg: "HS256", typ: "JWT" }, key = SECRET): string {
  const json = (value: object | string) => (typeof value === "string" ? value : JSON.stringify(value))
  return signed(`${base64url(json(header))}.${base64url(json(claims))}`, key)
}

function describeJwt(load: Load): void {
  const serve = (config: Record<string, unknown> = {}) =>
    load("jwt-claims-to-headers", {
      app,
      config: config as NonNullable<TestOptions["config"]>,
      secrets: { JWT_SECRET: SECRET },
      grant: { sensitive_headers: ["authorization"], secrets: ["JWT_SECRET"] },
    })
  const bearer = (text: string) => ({ headers: { authorization: `Bearer ${text}` } })

  describe("jwt-claims-to-headers", () => {
    it("tells the app who the owner of a valid token is", async () => {
      await using plugin = await serve()
      const { headers } = await seen(await plugin.request("/", bearer(token({ sub: "ada", exp: now() + 60 }))))
      assert.equal(headers["x-user-sub"], "ada")
    })

    it("lets no client say itself who the user is", async () => {
      await using plugin = await serve({ claims: ["sub", "role"] })
      const forged = { "x-user-sub": "root", "X-User-Role": "admin", "x-user-": "1", "x-users": "kept" }
      const { authorization } = bearer(token({ sub: "ada", exp: now() + 60 })).headers
      const { headers } = await seen(await plugin.request("/", { headers: { ...forged, authorization } }))
      assert.equal(headers["x-user-sub"], "ada")
      assert.equal(headers["x-user-role"], undefined)
      assert.equal(headers["x-user-"], undefined)
      assert.equal(headers["x-users"], "kept")
    })

    it("asks for a token where there is none", async () => {
      await using plugin = await serve()
      const response = await plugin.request("/")
      assert.equal(response.status, 401)
      assert.equal(response.headers.get("www-authenticate"), "Bearer")
      assert.equal(response.headers.get("cache-control"), "no-store")
      assert.equal(response.headers.get("content-type"), "text/plain; charset=utf-8")
      assert.equal(await response.text(), "a token is needed\n")
    })

    it("refuses every token that is not signed with the secret, is damaged, or is not of now", async () => {
      await using plugin = await serve()
      const valid = { sub: "ada", exp: now() + 60 }
      const good = token(valid)
      const [header, payload, signature] = good.split(".") as [string, string, string]
      const unsigned = `${base64url('{"alg":"none"}')}.${payload}.`
      const refused: Record<string, string> = {
        "another scheme": "Basic YTpi",
        "a scheme alone": "Bearer",
        "a scheme that begins alike": `Bearers ${good}`,
        "no scheme": good,
        "another key": `Bearer ${token(valid, { alg: "HS256" }, `${SECRET}!`)}`,
        "no signature": `Bearer ${header}.${payload}.`,
        "two parts": `Bearer ${header}.${payload}`,
        "four parts": `Bearer ${good}.${signature}`,
        "a short signature": `Bearer ${good.slice(0, -4)}`,
        "a longer signature": `Bearer ${good}AAAA`,
        padding: `Bearer ${good}=`,
        "base64 that is not base64url": `Bearer ${header}.${payload}.${"+/".repeat(21)}A`,
        "another payload": `Bearer ${header}.${base64url(JSON.stringify({ ...valid, sub: "eve" }))}.${signature}`,
        "alg none": `Bearer ${unsigned}`,
        "alg none, signed": `Bearer ${token(valid, { alg: "none" })}`,
        "alg in lower case": `Bearer ${token(valid, { alg: "hs256" })}`,
        HS512: `Bearer ${signed(`${base64url('{"alg":"HS512"}')}.${payload}`, SECRET, "sha512")}`,
        "no alg": `Bearer ${token(valid, {})}`,
        "alg as a list": `Bearer ${token(valid, { alg: ["HS256"] })}`,
        crit: `Bearer ${token(valid, { alg: "HS256", crit: ["b64"], b64: false })}`,
        "a header that is not JSON": `Bearer ${token(valid, '{"alg":"HS256"')}`,
        "a payload that is not JSON": `Bearer ${token(`${JSON.stringify(valid)}]`)}`,
        "a payload that is a list": `Bearer ${token("[1]")}`,
        "nothing but dots": "Bearer ..",
        "no exp": `Bearer ${token({ sub: "ada" })}`,
        "exp as text": `Bearer ${token({ sub: "ada", exp: String(now() + 60) })}`,
        "exp as null": `Bearer ${token({ sub: "ada", exp: null })}`,
        "an exp that is over": `Bearer ${token({ sub: "ada", exp: now() - 60 })}`,
        "an exp before 1970": `Bearer ${token('{"sub":"ada","exp":-1e30}')}`,
        "an nbf to come": `Bearer ${token({ ...valid, nbf: now() + 60 })}`,
        "nbf as text": `Bearer ${token({ ...valid, nbf: "0" })}`,
      }
      for (const [what, authorization] of Object.entries(refused)) {
        const response = await plugin.request("/", { headers: { authorization } })
        const body = await response.text()
        assert.equal(response.status, 401, `${what}: ${body}`)
        assert.equal(response.headers.get("www-authenticate"), 'Bearer error="invalid_token"', what)
        assert.equal(response.headers.get("cache-control"), "no-store", what)
        assert.equal(body, "the token is not valid\n", what)
      }
      assert.equal((await plugin.request("/", bearer(good))).status, 200)
    })

    it("reads the scheme in any case, spaces behind it, and JSON as it may be written", async () => {
      await using plugin = await serve()
      const exp = now() + 60
      const accepted = [
        `bearer ${token({ sub: "ada", exp })}`,
        `BEARER    ${token({ sub: "ada", exp })}`,
        `Bearer ${token(`\n{ "s\\u0075b" : "\\u0061d\\u0061" , "exp" : ${exp}.5 , "nbf":1e3 } `)}`,
        `Bearer ${token(`{"sub":"eve","exp":${exp},"sub":"ada","x":[{"sub":1},"}",{}]}`, ' {"x":{"alg":"none"},"alg":"HS256"}')}`,
      ]
      for (const authorization of accepted) {
        const { headers } = await seen(await plugin.request("/", { headers: { authorization } }))
        assert.equal(headers["x-user-sub"], "ada", authorization)
      }
    })

    it("allows for clocks that are apart, as far as it is told", async () => {
      await using plugin = await serve({ leeway_seconds: 100 })
      const status = async (claims: object) => (await plugin.request("/", bearer(token(claims)))).status
      assert.equal(await status({ exp: now() - 50 }), 200)
      assert.equal(await status({ exp: now() - 150 }), 401)
      assert.equal(await status({ exp: now() + 60, nbf: now() + 50 }), 200)
      assert.equal(await status({ exp: now() + 60, nbf: now() + 150 }), 401)
    })

    it("wants the issuer and the audience it is told", async () => {
      await using plugin = await serve({ issuer: "https://id.example", audience: "shop" })
      const status = async (claims: object) =>
        (await plugin.request("/", bearer(token({ ...claims, exp: now() + 60 })))).status
      const iss = "https://id.example"
      assert.equal(await status({ iss, aud: "shop" }), 200)
      assert.equal(await status({ iss, aud: ["blog", "shop"] }), 200)
      const refused = [{}, { iss }, { aud: "shop" }, { iss: `${iss}/`, aud: "shop" }, { iss, aud: "shop2" }]
      const more = [
        { iss, aud: [] },
        { iss, aud: ["blog", ["shop"]] },
        { iss, aud: { shop: "shop" } },
      ]
      for (const claims of [...refused, ...more]) assert.equal(await status(claims), 401, JSON.stringify(claims))
    })

    it("hands on text, numbers and booleans, and leaves out what could not be a header as it is", async () => {
      const claims = ["text", "words", "Email_Verified", "price", "big", "no", "absent", "nothing", "object", "list"]
      const unsafe = ["umlaut", "lines", "nul", "long", "empty", "double", "leading", "tab"]
      await using plugin = await serve({ claims: [...claims, ...unsafe], header_prefix: "x-claim-" })
      const values = {
        text: "a~b",
        words: "two words",
        Email_Verified: true,
        no: false,
        nothing: null,
        object: { a: 1 },
        list: ["a"],
        umlaut: "Zoë",
        lines: "a\r\nx-evil: 1",
        nul: "a\0b",
        long: "a".repeat(1025),
        empty: "",
        double: "a  b",
        leading: " a",
        tab: "a\tb",
        exp: now() + 60,
      }
      const text = `${JSON.stringify(values).slice(0, -1)},"price":1.50,"big":12345678901234567890}`
      const { headers } = await seen(await plugin.request("/", bearer(token(text))))
      const given = Object.entries(headers).filter(([name]) => name.startsWith("x-claim-") || name === "x-evil")
      assert.deepEqual(Object.fromEntries(given), {
        "x-claim-text": "a~b",
        "x-claim-words": "two words",
        "x-claim-email-verified": "true",
        "x-claim-price": "1.50",
        "x-claim-big": "12345678901234567890",
        "x-claim-no": "false",
      })
    })

    it("lets nobody through with a secret that could be guessed", async () => {
      const secrets = { JWT_SECRET: "x".repeat(31) }
      await using plugin = await load("jwt-claims-to-headers", { app, secrets })
      const weak = token({ exp: now() + 60 }, { alg: "HS256" }, secrets.JWT_SECRET)
      assert.equal((await plugin.request("/", bearer(weak))).status, 502)
    })
  })
}

function describeImages(load: Load): void {
  const secrets = { IMAGE_KEY: "736563726574", IMAGE_SALT: "68656C6C6F" }
  const serve = (config: Record<string, unknown> = {}) =>
    load("image-resize-url", { app, config: config as NonNullable<TestOptions["config"]>, secrets })

  /** Where imgproxy finds it, by the rules of imgproxy. */
  const address = (options: string, source: string) => {
    const target = `/rs:${options}/${base64url(source)}`
    const hmac = createHmac("sha256", Buffer.from(secrets.IMAGE_KEY, "hex"))
    const signature = hmac.update(Buffer.from(secrets.IMAGE_SALT, "hex")).update(target).digest("base64url")
    return `/${signature}${target}`
  }

  describe("image-resize-url", () => {
    it("signs the address of the documentation as the documentation says", async () => {
      await using plugin = await serve()
      const { path } = await seen(await plugin.request("/img/w=300,h=9999/photos/cat.jpg"))
      const readme = readFileSync(new URL("../../sdk/README.md", import.meta.url), "utf8")
      assert.ok(readme.includes(`\`${path}\``), path)
      assert.equal(path, `/imgproxy${address("fit:300:2000", "local:///photos/cat.jpg")}`)
    })

    it("reads options in any order and leaves the query as it is", async () => {
      await using plugin = await serve()
      const cases: Record<string, string> = {
        "/img/fit=fill,h=7,w=5/a.png": address("fill:5:7", "local:///a.png"),
        "/img/w=99999/a/b/c.png": address("fit:2000:0", "local:///a/b/c.png"),
        "/img/h=001/w=2/a.png": address("fit:0:1", "local:///w=2/a.png"),
        "/img/fit=fit,h=10/caf%C3%A9%20%25.jpg": address("fit:0:10", "local:///café %.jpg"),
      }
      for (const [short, expected] of Object.entries(cases)) {
        const request = await seen(await plugin.request(`${short}?v=1&w=9`))
        assert.equal(request.path, `/imgproxy${expected}`, short)
        assert.equal(request.query, "?v=1&w=9")
      }
    })

    it("keeps to the addresses and the largest size it is told", async () => {
      const config = { prefix: "/thumbs/", service_prefix: "", source: "s3://pics/", max_width: 100, max_height: 50 }
      await using plugin = await serve(config)
      const { path } = await seen(await plugin.request("/thumbs/w=101,h=51/a.png"))
      assert.equal(path, address("fit:100:50", "s3://pics/a.png"))
      assert.equal((await seen(await plugin.request("/img/w=1/a.png"))).path, "/img/w=1/a.png")
    })

    it("leaves every other path alone", async () => {
      await using plugin = await serve()
      for (const path of ["/", "/img", "/imgs/w=1/a.png", "/x/img/w=1/a.png"]) {
        assert.equal((await seen(await plugin.request(path))).path, path)
      }
    })

    it("refuses options that it does not know, and images without a name", async () => {
      await using plugin = await serve()
      const wrong = [
        "",
        "w=1",
        "w=1/",
        "/a.png",
        "w=/a",
        "w=0/a",
        "w=-1/a",
        "w=+1/a",
        "w=1.5/a",
        "w=100000/a",
        "w=1e3/a",
      ]
      const more = ["fit=fit/a", "w=1,fit=crop/a", "w=1,w=1/a", "w=1,/a", ",w=1/a", "w=1,q=80/a", "W=1/a", "w=1, h=1/a"]
      const most = ["fit=fit,fit=fill,w=1/a", "h=1,w=0/a", "w=00000/a", `w=1/${"a".repeat(1025)}`, "w=%D9%A1/a"]
      for (const options of [...wrong, ...more, ...most]) {
        const response = await plugin.request(`/img/${options}`)
        const body = await response.text()
        assert.equal(response.status, 400, `${options}: ${body}`)
        assert.equal(body, "use /img/w=300,h=200,fit=fill/path/of/image\n")
        assert.equal(response.headers.get("content-type"), "text/plain; charset=utf-8")
      }
    })

    it("answers methods other than GET and HEAD itself", async () => {
      await using plugin = await serve()
      assert.equal((await plugin.request("/img/w=1/a.png", { method: "HEAD" })).status, 200)
      const response = await plugin.request("/img/w=1/a.png", { method: "POST" })
      assert.equal(response.status, 405)
      assert.equal(response.headers.get("allow"), "GET, HEAD")
      assert.equal(await response.text(), "use GET or HEAD\n")
    })

    it("signs nothing with a key that is not one", async () => {
      for (const wrong of [{ IMAGE_KEY: "secret" }, { IMAGE_SALT: "123" }]) {
        await using plugin = await load("image-resize-url", { app, secrets: { ...secrets, ...wrong } })
        assert.equal((await plugin.request("/img/w=1/a.png")).status, 502)
        assert.equal((await plugin.request("/")).status, 200)
      }
    })
  })
}
