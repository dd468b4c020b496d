import assert from "node:assert/strict"
import { describe, it } from "node:test"
import { price } from "../../plugins/pricing-rules/src/price.ts"
import { serve } from "../support/serve.ts"

/** Answers with what it was sent, as the type it was asked for. */
const APP = {
  "plugins/app/plugin.toml":
    '[manifest]\nname = "app"\nversion = "1.0.0"\ncapabilities = ["middleware"]\n[sandbox]\nbody = "request"\nmax_body = "2mb"\n',
  "plugins/app/index.js": `export const onRequest = (ctx) => new Response(ctx.body.bytes(), {
    status: Number(ctx.searchParams.get("status") ?? 200),
    headers: { "content-type": ctx.headers.get("x-answer-type") ?? "application/json", etag: '"1"' },
  })`,
}

const RULES = `quantity_discounts = [
  { sku = "*", min_quantity = 10, percent = 5 },
  { sku = "tea", min_quantity = 3, percent = 10 },
]
[plugins.pricing-rules.config.coupons]
SPRING = { percent = 10, min_subtotal = 2000 }
FIVE = { amount = 500 }
[plugins.pricing-rules.config.tax]
DE = 19
CH = 8.1
`

const site = (settings: string) =>
  serve(`[plugins.pricing-rules.config]\n${settings}\n[plugins.app]\npriority = 700\n`, APP)

function send(url: string, body: string | object, headers: Record<string, string> = {}): Promise<Response> {
  const text = typeof body === "string" ? body : JSON.stringify(body)
  return fetch(url, { method: "POST", body: text, headers: { "content-type": "application/json", ...headers } })
}

const TEA = { sku: "tea", quantity: 3, unit_price: 995 }

describe("pricing-rules", () => {
  it("adds what its README says to the app's answer", async () => {
    await using served = await site(RULES)
    const response = await send(served.url, { items: [TEA], coupon: "SPRING", country: "DE", note: "kept" })
    assert.equal(response.headers.get("etag"), null, "of another body")
    assert.deepEqual(await response.json(), {
      items: [TEA],
      coupon: "SPRING",
      country: "DE",
      note: "kept",
      pricing: {
        lines: [{ ...TEA, discount: 299, total: 2686 }],
        subtotal: 2686,
        coupon: { code: "SPRING", discount: 269 },
        tax: { country: "DE", percent: 19, amount: 459 },
        total: 2876,
      },
    })
  })

  it("prices what clients send, and believes no prices of theirs", async () => {
    await using served = await site(`at = "request"\n${RULES}`)
    const sent = `{"items":[${JSON.stringify(TEA)}],"pricing":{"total":1},"pricing":{"total":0},"__proto__":{"x":1}}`
    const seen = (await (await send(served.url, sent)).json()) as { pricing: { total: number } }
    assert.equal(seen.pricing.total, 2686)
  })

  it("leaves alone what is no cart, byte for byte, or refuses it", async () => {
    const carts: string[] = [
      "",
      "{",
      "null",
      "[]",
      '"text"',
      "{}",
      '{"items":{}}',
      '{"items":[null]}',
      '{"items":[{"sku":"","quantity":1,"unit_price":1}]}',
      '{"items":[{"sku":"a","quantity":-1,"unit_price":1}]}',
      '{"items":[{"sku":"a","quantity":1.5,"unit_price":1}]}',
      '{"items":[{"sku":"a","quantity":"1","unit_price":1}]}',
      '{"items":[{"sku":"a","quantity":1,"unit_price":1e400}]}',
      '{"items":[{"sku":"a","quantity":1,"unit_price":-1}]}',
      '{"items":[],"country":"__proto__"}',
      '{"items":[],"coupon":{}}',
      `{"items":[${Array(501).fill(JSON.stringify(TEA)).join(",")}]}`,
      `{"items":[{"sku":"a","quantity":1000000,"unit_price":1000000000000}]}`,
      `${"[".repeat(50_000)}${"]".repeat(50_000)}`,
      `{"items":${'{"a":'.repeat(20_000)}1${"}".repeat(20_000)}}`,
    ]
    await using lenient = await site(RULES)
    await using strict = await site(`on_invalid = "refuse"\n${RULES}`)
    await using early = await site(`at = "request"\non_invalid = "refuse"\n${RULES}`)
    for (const cart of carts) {
      const name = cart.slice(0, 60)
      const kept = await send(lenient.url, cart)
      assert.equal(kept.status, 200, name)
      assert.equal(await kept.text(), cart, name)
      const refused = await send(strict.url, cart)
      assert.equal(refused.status, 502, name)
      assert.deepEqual(await refused.json(), { error: "the prices could not be worked out" })
      const sent = await send(early.url, cart)
      assert.equal(sent.status, 422, name)
      assert.ok(((await sent.json()) as { error: string }).error.length < 100)
    }
    assert.equal((await send(early.url, { items: [TEA] })).status, 200, "it still works")
  })

  it("looks at nothing but JSON, and at no answer but 200", async () => {
    await using served = await site(`on_invalid = "refuse"\n${RULES}`)
    const cart = JSON.stringify({ items: [TEA] })
    const answer = async (type: string, query = "") =>
      (await send(`${served.url}/${query}`, cart, { "x-answer-type": type })).text()
    for (const type of ["text/html", "application/jsonp", "application/json-seq", "text/json"]) {
      assert.equal(await answer(type), cart, type)
    }
    assert.equal(await answer("application/json", "?status=404"), cart)
    for (const type of ["application/json; charset=utf-8", "Application/JSON", "application/vnd.cart+json"]) {
      assert.match(await answer(type), /"pricing"/, type)
    }
    const form = await send(served.url, "a=b", { "content-type": "text/plain", "x-answer-type": "text/plain" })
    assert.equal(await form.text(), "a=b")
  })

  it("lets no cart through that is too large to be looked at", async () => {
    await using served = await site(`at = "request"\n${RULES}`)
    const padded = `{"items":[${JSON.stringify(TEA)}],"pricing":{"total":0},"padding":"${"x".repeat(300_000)}"}`
    assert.equal((await send(served.url, padded)).status, 413)
  })

  it("takes the country of geo-redirect when the cart says none", async () => {
    await using served = await serve(
      `[plugins.geo-redirect.config.table]\nDE = ["127.0.0.1"]\n[plugins.pricing-rules.config]\n${RULES}\n[plugins.app]\npriority = 700\n`,
      APP,
    )
    const { pricing } = (await (await send(served.url, { items: [TEA] })).json()) as { pricing: { tax: unknown } }
    assert.deepEqual(pricing.tax, { country: "DE", percent: 19, amount: 510 })
  })

  it("does not load with a percentage that cannot be kept exactly", async () => {
    await assert.rejects(
      site("[plugins.pricing-rules.config.tax]\nDE = 19.005"),
      /19\.005 percent has more than two decimals/,
    )
    await assert.rejects(site("[plugins.pricing-rules.config.coupons]\nBOTH = { percent = 1, amount = 1 }"), /BOTH/)
  })
})

describe("price", () => {
  const cart = (unit_price: number, quantity = 1, more: { coupon?: string; country?: string } = {}) => ({
    items: [{ sku: "a", quantity, unit_price }],
    coupon: null,
    country: null,
    ...more,
  })
  const rules = { prices_include_tax: false }

  it("rounds half up, once for each percentage", () => {
    const half = { ...rules, quantity_discounts: [{ sku: "a", min_quantity: 1, percent: 50 }] }
    assert.equal(price(cart(1), half)!.lines[0]!.discount, 1)
    assert.equal(price(cart(3), half)!.lines[0]!.discount, 2)
    const tax = { ...rules, tax: { CH: 8.1 } }
    assert.equal(price(cart(500, 1, { country: "CH" }), tax)!.tax!.amount, 41, "40.5")
    assert.equal(price(cart(499, 1, { country: "CH" }), tax)!.tax!.amount, 40, "40.419")
  })

  it("finds the tax inside prices that include it", () => {
    const included = { prices_include_tax: true, tax: { DE: 19 } }
    const { tax, total } = price(cart(11_900, 1, { country: "DE" }), included)!
    assert.deepEqual([tax!.amount, total], [1900, 11_900])
  })

  it("takes the best quantity discount and never adds them up", () => {
    const quantity_discounts = [
      { sku: "*", min_quantity: 2, percent: 5 },
      { sku: "a", min_quantity: 2, percent: 20 },
      { sku: "a", min_quantity: 3, percent: 10 },
    ]
    assert.equal(price(cart(100, 3), { ...rules, quantity_discounts })!.subtotal, 240)
    assert.equal(price(cart(100, 1), { ...rules, quantity_discounts })!.subtotal, 100)
  })

  it("gives no coupon for more than the cart, below its minimum, or by a name of Object", () => {
    const coupons = { FIVE: { amount: 500 }, BIG: { percent: 50, min_subtotal: 1000 } }
    const total = (coupon: string, unit_price = 300) =>
      price(cart(unit_price, 1, { coupon }), { ...rules, coupons })!.total
    assert.equal(total("FIVE"), 0)
    assert.equal(total("BIG"), 300)
    assert.equal(total("BIG", 1000), 500)
    for (const name of ["five", "constructor", "__proto__", "toString"]) assert.equal(total(name), 300, name)
  })

  it("keeps its sums exact up to what JSON holds, and says when they are beyond", () => {
    assert.equal(price(cart(9_007_199_254, 1_000_000), rules)!.total, 9_007_199_254_000_000)
    assert.equal(price(cart(9_007_199_255, 1_000_000), rules), null)
    const free = { ...rules, quantity_discounts: [{ sku: "a", min_quantity: 1, percent: 100 }] }
    assert.equal(price(cart(9_007_199_255, 1_000_000), free), null, "the discount is beyond too")
  })

  it("adds up, whatever the cart", () => {
    let seed = 3
    const random = (below: number) => {
      seed = (Math.imul(seed, 1103515245) + 12345) >>> 0
      return (seed >>> 8) % below
    }
    for (let round = 0; round < 300; round++) {
      const items = Array.from({ length: random(6) }, () => ({
        sku: "ab"[random(2)]!,
        quantity: 1 + random(30),
        unit_price: random(100_000),
      }))
      const some = {
        prices_include_tax: random(2) === 0,
        quantity_discounts: [{ sku: "a", min_quantity: random(20), percent: random(10_001) / 100 }],
        coupons: { C: { percent: random(10_001) / 100 } },
        tax: { DE: random(10_001) / 100 },
      }
      const { lines, subtotal, coupon, tax, total } = price({ items, coupon: "C", country: "DE" }, some)!
      for (const line of lines) {
        assert.equal(line.total, line.unit_price * line.quantity - line.discount)
        assert.ok(line.total >= 0 && line.discount >= 0)
      }
      assert.equal(
        subtotal,
        lines.reduce((sum, line) => sum + line.total, 0),
      )
      const due = subtotal - coupon!.discount
      assert.equal(total, some.prices_include_tax ? due : due + tax!.amount)
      assert.ok(total >= 0 && [subtotal, coupon!.discount, tax!.amount, total].every(Number.isSafeInteger))
    }
  })
})
