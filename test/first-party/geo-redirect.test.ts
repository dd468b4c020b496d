import assert from "node:assert/strict"
import { describe, it } from "node:test"
import { CountryTable } from "../../plugins/geo-redirect/src/country-table.ts"
import { serve } from "../support/serve.ts"

const APP = {
  "plugins/app/plugin.toml": '[manifest]\nname = "app"\nversion = "1.0.0"\ncapabilities = ["middleware"]\n',
  "plugins/app/index.js": `export const onRequest = (ctx) =>
    Response.json([ctx.headers.get("x-country"), ctx.extensions.get("geo-redirect.country")], { headers: { vary: "accept" } })`,
}

const site = (settings: string) =>
  serve(
    `[plugins.geo-redirect.config]\n${settings}\n[plugins.app]\npriority = 700\n`,
    APP,
    'trusted_proxies = ["127.0.0.1/32"]',
  )

function from(url: string, address: string, init: RequestInit = {}): Promise<Response> {
  return fetch(url, { redirect: "manual", ...init, headers: { "x-forwarded-for": address, ...init.headers } })
}

const RULES = `rules = [
  { countries = ["DE", "AT"], target = "https://de.example.com/" },
  { countries = ["FR"], target = "/fr" },
  { countries = ["IT"], target = "https://it.example.com/ciao", keep_path = false },
]`
const TABLE = `
[plugins.geo-redirect.config.table]
DE = ["192.0.2.0/24", "2001:db8:1::/48"]
FR = ["198.51.100.0/24", "192.0.2.128/25"]
IT = ["203.0.113.7"]
SE = ["203.0.113.8"]
`

describe("geo-redirect", () => {
  it("sends visitors to their country's site with path and query kept", async () => {
    await using served = await site(RULES + TABLE)
    const german = await from(`${served.url}/a%20b/%C3%A4?q=1&r=%2F`, "192.0.2.7")
    assert.equal(german.status, 302)
    assert.equal(german.headers.get("location"), "https://de.example.com/a%20b/%C3%A4?q=1&r=%2F")
    assert.equal(german.headers.get("cache-control"), "no-store")
    assert.equal((await from(served.url, "2001:db8:1:2::3")).headers.get("location"), "https://de.example.com/")
    assert.equal((await from(`${served.url}/x`, "192.0.2.200")).headers.get("location"), "/fr/x", "the narrower range")
    assert.equal((await from(`${served.url}/x`, "203.0.113.7")).headers.get("location"), "https://it.example.com/ciao")
  })

  it("leaves alone who is exempt, unknown, without a rule, sending something, or there already", async () => {
    await using served = await site(`${RULES}\nexempt = ["/api/**", "/robots.txt"]\nstay_parameter = "stay"${TABLE}`)
    const status = async (path: string, address: string, init?: RequestInit) =>
      (await from(served.url + path, address, init)).status
    assert.equal(await status("/", "192.0.2.7"), 302)
    assert.equal(await status("/apiary", "192.0.2.7"), 302)
    for (const path of ["/api", "/api/x", "/robots.txt", "/?stay=1"])
      assert.equal(await status(path, "192.0.2.7"), 200, path)
    assert.equal(await status("/", "192.0.2.7", { method: "POST" }), 200)
    assert.equal(await status("/", "203.0.113.8"), 200, "a country without a rule")
    assert.equal(await status("/", "8.8.8.8"), 200, "no range")
    assert.equal(await status("/france", "198.51.100.1"), 302)
    for (const path of ["/fr", "/fr/", "/fr/x"]) assert.equal(await status(path, "198.51.100.1"), 200, path)
  })

  it("does not send a visitor of the target's host to that host", async () => {
    await using served = await site(`rules = [{ countries = ["DE"], target = "http://127.0.0.1:1" }]${TABLE}`)
    assert.equal((await from(`${served.url}/x`, "192.0.2.7")).status, 200)
  })

  it("leads to the target's host alone, whatever the path says", async () => {
    await using served = await site(RULES + TABLE)
    let redirects = 0
    for (const path of [
      "//evil.example/x",
      "/%0d%0aset-cookie:a=b",
      "/\\evil.example",
      "/@evil.example",
      "/%2e%2e//evil",
    ]) {
      const response = await from(served.url + path, "198.51.100.1")
      const location = response.headers.get("location")
      if (location === null) continue
      assert.equal(new URL(location, "https://own.example").origin, "https://own.example", path)
      assert.ok(location.startsWith("/fr/"), location)
      assert.equal(response.headers.get("set-cookie"), null)
      redirects++
    }
    assert.ok(redirects >= 3, `${redirects} redirects`)
  })

  it("believes a header only when it is told to, and says that responses depend on it", async () => {
    await using table = await site(RULES)
    assert.equal((await from(table.url, "8.8.8.8", { headers: { "cf-ipcountry": "DE" } })).status, 200)

    await using header = await site(`source = "header"\nexempt = ["/api/**"]\n${RULES}`)
    const ask = (country: string, path = "/") =>
      from(header.url + path, "8.8.8.8", { headers: { "cf-ipcountry": country } })
    const redirect = await ask("de")
    assert.equal(redirect.status, 302)
    assert.equal(redirect.headers.get("vary"), "cf-ipcountry")
    for (const nobody of ["XX", "T1", "", "DEU", "DE,FR", "__proto__"])
      assert.equal((await ask(nobody)).status, 200, nobody)
    assert.equal((await ask("SE")).headers.get("vary"), "accept, cf-ipcountry")
    assert.equal((await ask("DE", "/api/x")).headers.get("vary"), "accept")
  })

  it("tells the app and other plugins the country, and not what a client claims", async () => {
    await using served = await site(`request_header = "X-Country"${TABLE}`)
    const ask = async (address: string) =>
      (await from(served.url, address, { headers: { "x-country": "US" } })).json() as Promise<unknown>
    assert.deepEqual(await ask("192.0.2.7"), ["DE", "DE"])
    assert.deepEqual(await ask("8.8.8.8"), [null, null])
  })

  const mistakes: [what: string, settings: string, expected: RegExp][] = [
    [
      "a range that is none",
      '[plugins.geo-redirect.config.table]\nDE = ["192.0.2.0/33"]',
      /DE has "192\.0\.2\.0\/33", which is no address range/,
    ],
    [
      "an address with host bits",
      '[plugins.geo-redirect.config.table]\nDE = ["192.0.2.1/24"]',
      /does not begin at a multiple of its size/,
    ],
    [
      "one range twice",
      '[plugins.geo-redirect.config.table]\nDE = ["192.0.2.0/24"]\nFR = ["192.0.2.0/24"]',
      /is listed for DE and for FR/,
    ],
    ["a country that is none", "[plugins.geo-redirect.config.table]\nGermany = []", /Germany/],
    ["a target that is none", 'rules = [{ countries = ["DE"], target = "javascript:alert(1)" }]', /target/],
  ]
  for (const [what, settings, expected] of mistakes) {
    it(`does not load with ${what}`, async () => {
      await assert.rejects(site(settings), (error: Error) => {
        assert.match(error.message, expected)
        return true
      })
    })
  }
})

describe("CountryTable", () => {
  it("agrees with looking at every range, for random tables", () => {
    let seed = 7
    const random = (below: number) => {
      seed = (Math.imul(seed, 1103515245) + 12345) >>> 0
      return (seed >>> 8) % below
    }
    for (let round = 0; round < 200; round++) {
      const ranges = new Map<string, { start: number; bits: number; country: string }>()
      for (let i = random(12); i > 0; i--) {
        const bits = 20 + random(13)
        const start = ((random(2 ** 12) << (32 - bits)) & 0xfff) >>> 0
        ranges.set(`${start}/${bits}`, { start, bits, country: `${"ABCDEFG"[random(7)]}A` })
      }
      const dotted = (number: number) => `10.0.${number >>> 8}.${number & 255}`
      const table: Record<string, string[]> = {}
      for (const { start, bits, country } of ranges.values()) {
        table[country] = [...(table[country] ?? []), `${dotted(start)}/${bits}`]
      }
      const countries = new CountryTable(table)
      for (let i = 0; i < 50; i++) {
        const address = random(2 ** 12)
        const around = [...ranges.values()].filter(
          ({ start, bits }) => address >= start && address < start + 2 ** (32 - bits),
        )
        const narrowest = around.toSorted((a, b) => b.bits - a.bits)[0]?.country ?? null
        assert.equal(countries.find(dotted(address)), narrowest, JSON.stringify({ table, address }))
      }
    }
  })

  it("reads every spelling of an address and no other text", () => {
    const table = new CountryTable({
      AA: ["::ffff:10.0.0.0/104"],
      BB: ["::1", "2001:db8::/32"],
      CC: ["0.0.0.0/0"],
      DD: ["255.255.255.255"],
    })
    assert.equal(table.find("10.1.2.3"), "AA")
    assert.equal(table.find("::ffff:10.1.2.3"), "AA")
    assert.equal(table.find("0:0::0:1"), "BB")
    assert.equal(table.find("2001:DB8:ffff:FFFF:ffff:ffff:ffff:ffff"), "BB")
    assert.equal(table.find("2001:db9::"), null)
    assert.equal(table.find("11.0.0.0"), "CC")
    assert.equal(table.find("255.255.255.255"), "DD")
    assert.equal(table.find("::1:0:0:0"), null, "after the last range")
    for (const text of [
      "",
      "1.2.3",
      "1.2.3.256",
      "01.2.3.4",
      "1.2.3.4.5",
      ":::",
      "1:2:3:4:5:6:7:8:9",
      "1::2::3",
      "g::",
      "::1%eth0",
      "1.2.3.4:80",
    ]) {
      assert.equal(table.find(text), null, text)
    }
  })
})
