import assert from "node:assert/strict"
import { createHmac } from "node:crypto"
import { describe, it } from "node:test"
import { serve } from "../support/serve.ts"

const SECRET = "a secret of the test"
process.env.TEST_WEBHOOK_SECRET = SECRET

const APP = {
  "plugins/app/plugin.toml":
    '[manifest]\nname = "app"\nversion = "1.0.0"\ncapabilities = ["middleware"]\n[sandbox]\nbody = "request"\n',
  "plugins/app/index.js": "export const onRequest = (ctx) => new Response(ctx.body.bytes())",
}

const config = (settings: string) => `
[plugins.webhook-verify]
[plugins.webhook-verify.config]
${settings}
[plugins.webhook-verify.secrets]
WEBHOOK_SECRET = "env:TEST_WEBHOOK_SECRET"
[plugins.app]
priority = 700
`

describe("webhook-verify", () => {
  it("lets a signed body through to the app, byte for byte", async () => {
    await using site = await serve(config(""), APP)
    const body = new Uint8Array([0, 255, 13, 10, 0xc3, 0x28, 1])
    const response = await post(site.url, body, { "x-hub-signature-256": `sha256=${digest(body, "hex")}` })
    assert.equal(response.status, 200)
    assert.deepEqual(new Uint8Array(await response.arrayBuffer()), body)
  })

  it("refuses what is not signed, signed with another key, or changed", async () => {
    await using site = await serve(config(""), APP)
    const body = Buffer.from('{"paid":true}')
    const forged = createHmac("sha256", "another key").update(body).digest("hex")
    const attacks: Record<string, string>[] = [
      {},
      { "x-hub-signature-256": "" },
      { "x-hub-signature-256": "sha256=" },
      { "x-hub-signature-256": `sha256=${forged}` },
      { "x-hub-signature-256": digest(body, "hex") },
      { "x-hub-signature-256": `sha256=${digest(Buffer.from("{}"), "hex")}` },
      { "x-hub-signature-256": `sha256=${digest(body, "hex").slice(0, 62)}` },
    ]
    for (const headers of attacks) {
      const response = await post(site.url, body, headers)
      assert.equal(response.status, 401, JSON.stringify(headers))
      assert.ok(!(await response.text()).includes(SECRET))
    }
  })

  it("reads hex, base64 and timestamped signatures", async () => {
    const body = Buffer.from("hello")
    await using hex = await serve(config('format = "hex"\nheader = "x-sign"'), APP)
    assert.equal((await post(hex.url, body, { "x-sign": digest(body, "hex").toUpperCase() })).status, 200)
    await using base64 = await serve(config('format = "base64"\nheader = "x-sign"'), APP)
    assert.equal((await post(base64.url, body, { "x-sign": digest(body, "base64") })).status, 200)

    await using timed = await serve(config('format = "timestamped"\nheader = "stripe-signature"'), APP)
    const sign = (seconds: number) => digest(Buffer.concat([Buffer.from(`${seconds}.`), body]), "hex")
    const ask = async (header: string) => (await post(timed.url, body, { "stripe-signature": header })).status
    const now = Math.floor(Date.now() / 1000)
    assert.equal(await ask(`t=${now},v1=${"0".repeat(64)},v1=${sign(now)}`), 200)
    assert.equal(await ask(`t=${now - 3600},v1=${sign(now - 3600)}`), 401)
    assert.equal(await ask(`t=${now - 1},v1=${sign(now)}`), 401)
    assert.equal(await ask(`v1=${sign(now)}`), 401)
  })

  it("does not load without the grant, and says what to paste", async () => {
    await assert.rejects(serve("[plugins.webhook-verify]\n"), (error: Error) => {
      assert.match(error.message, /E_GRANT_MISSING/)
      assert.match(error.message, /\[plugins\.webhook-verify\.grant\]\s+secrets = \["WEBHOOK_SECRET"\]/)
      return true
    })
  })
})

function post(url: string, body: Uint8Array<ArrayBuffer>, headers: Record<string, string>): Promise<Response> {
  return fetch(url, { method: "POST", body, headers })
}

function digest(data: Uint8Array, encoding: "hex" | "base64"): string {
  return createHmac("sha256", SECRET).update(data).digest(encoding)
}
