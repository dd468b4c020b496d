import assert from "node:assert/strict"
import { describe, it } from "node:test"
import { parse } from "smol-toml"
import type { Permissions } from "../../src/config/manifest-schema.ts"
import { effectivePermissions } from "../../src/host/permissions.ts"

const NOTHING: Permissions = {
  allowed_urls: [],
  max_fetch_per_minute: 30,
  queues: [],
  secrets: [],
  sensitive_headers: [],
  set_cookies: [],
  identity: false,
  rewrite_path: false,
  rewrite_method: false,
  purge: false,
}
const ask = (some: Partial<Permissions>): Permissions => ({ ...NOTHING, ...some })
const EVERYTHING = ask({
  allowed_urls: ["https://api.example.com/v1/**", "https://*.cdn.example/**"],
  max_fetch_per_minute: 600,
  queues: ["mail"],
  secrets: ["STRIPE_KEY"],
  sensitive_headers: ["cookie"],
  set_cookies: ["ab_*"],
  identity: true,
  rewrite_path: true,
  rewrite_method: true,
  purge: true,
})

describe("permissions", () => {
  it("need no grant when nothing is asked for", () => {
    assert.deepEqual(effectivePermissions("demo", NOTHING, undefined, {}), { permissions: NOTHING, missing: null })
  })

  it("are nothing without a grant, and what is missing is a block that grants it when pasted", () => {
    const { permissions, missing } = effectivePermissions("demo", EVERYTHING, undefined, {})
    assert.deepEqual(permissions, NOTHING)
    assert.match(missing!.toml, /^\[plugins\.demo\.grant\]\n/)
    const pasted = (parse(missing!.toml) as { plugins: { demo: { grant: Partial<Permissions> } } }).plugins.demo.grant
    assert.deepEqual({ ...pasted }, { ...missing!.fields })
    const granted = effectivePermissions("demo", EVERYTHING, pasted, {})
    assert.deepEqual(granted, { permissions: EVERYTHING, missing: null })
  })

  it("are what is asked for and nothing more, however much is granted", () => {
    const grant = {
      ...EVERYTHING,
      allowed_urls: ["https://api.example.com/**", "https://other.example/**"],
      secrets: ["A", "B"],
    }
    const requested = ask({ allowed_urls: ["https://api.example.com/v1/**"], secrets: ["A"], max_fetch_per_minute: 10 })
    const { permissions, missing } = effectivePermissions("demo", requested, grant, {})
    assert.deepEqual(permissions, requested)
    assert.equal(missing, null)
  })

  it("are narrower when the grant is", () => {
    const { permissions, missing } = effectivePermissions(
      "demo",
      ask({ allowed_urls: ["https://*.example.com/**"], max_fetch_per_minute: 600 }),
      { allowed_urls: ["https://api.example.com/v1/**"], max_fetch_per_minute: 5 },
      {},
    )
    assert.deepEqual(permissions.allowed_urls, ["https://api.example.com/v1/**"])
    assert.equal(permissions.max_fetch_per_minute, 5)
    assert.equal(missing, null)
  })

  it("name only what is still missing, keeping what was granted in the block", () => {
    const requested = ask({ allowed_urls: ["https://a.example/**", "https://b.example/**"], identity: true })
    const { permissions, missing } = effectivePermissions(
      "demo",
      requested,
      { allowed_urls: ["https://a.example/**"] },
      {},
    )
    assert.deepEqual(permissions, ask({ allowed_urls: ["https://a.example/**"] }))
    assert.equal(
      missing!.toml,
      '[plugins.demo.grant]\nallowed_urls = ["https://a.example/**", "https://b.example/**"]\nidentity = true',
    )
  })

  it("take an explicit no for an answer, except for secrets, which are granted by mapping them", () => {
    const refusal = {
      ...{ allowed_urls: [], queues: [], sensitive_headers: [], set_cookies: [], secrets: [] },
      ...{ identity: false, rewrite_path: false, rewrite_method: false, purge: false },
    }
    const { permissions, missing } = effectivePermissions("demo", EVERYTHING, refusal, {})
    assert.deepEqual({ ...permissions, max_fetch_per_minute: 30 }, NOTHING)
    assert.deepEqual(missing!.fields.secrets, ["STRIPE_KEY"])
  })

  it("stay under the ceilings, also when everything is granted", () => {
    const { permissions, missing } = effectivePermissions("demo", EVERYTHING, "all", { max_fetch_per_minute: 60 })
    assert.deepEqual(permissions, { ...EVERYTHING, max_fetch_per_minute: 60 })
    assert.equal(missing, null)
  })

  it("ask again for a rate above thirty fetches a minute", () => {
    const requested = ask({ allowed_urls: ["https://a.example/**"], max_fetch_per_minute: 31 })
    const { permissions, missing } = effectivePermissions(
      "demo",
      requested,
      { allowed_urls: ["https://a.example/**"] },
      {},
    )
    assert.equal(permissions.max_fetch_per_minute, 30)
    assert.equal(missing!.fields.max_fetch_per_minute, 31)
  })

  it("treat cookie globs as covered only by the same, a wider or a matching one", () => {
    const requested = ask({ set_cookies: ["ab_1", "ab_*", "session"] })
    const of = (...set_cookies: string[]) =>
      effectivePermissions("demo", requested, { set_cookies }, {}).permissions.set_cookies
    assert.deepEqual(of("ab_*"), ["ab_1", "ab_*"])
    assert.deepEqual(of("ab_1"), ["ab_1"])
    assert.deepEqual(of("**"), ["ab_1", "ab_*", "session"])
    assert.deepEqual(of("*"), ["ab_1", "session"])
  })

  it("report a pattern that cannot be parsed, on either side", () => {
    const bad = { code: "E_PLUGIN_MANIFEST_INVALID", message: /allowed_urls/ }
    assert.throws(() => effectivePermissions("demo", ask({ allowed_urls: ["https://*"] }), undefined, {}), bad)
    assert.throws(() => effectivePermissions("demo", NOTHING, { allowed_urls: ["x"] }, {}), bad)
  })
})
