import assert from "node:assert/strict"
import { describe, it } from "node:test"
import { type ForwardingHeaders, resolveOrigin, TrustedProxies, toAddress } from "../../src/http/trusted-proxy.ts"

const trusted = new TrustedProxies(["10.0.0.0/8", "2001:db8::/32", "192.0.2.7"])
const resolve = (headers: Partial<ForwardingHeaders>) =>
  resolveOrigin(
    {
      forwarded: undefined,
      xForwardedFor: undefined,
      xForwardedProto: undefined,
      xForwardedHost: undefined,
      ...headers,
    },
    "10.0.0.1",
    trusted,
  )

describe("TrustedProxies", () => {
  it("knows addresses inside its ranges and no others", () => {
    for (const address of ["10.0.0.1", "10.255.255.255", "192.0.2.7", "2001:db8:1::1"]) assert.ok(trusted.has(address))
    for (const address of ["11.0.0.1", "192.0.2.8", "2001:db9::1", "::1", "", "10.0.0", "010.0.0.1", "167772161"]) {
      assert.equal(trusted.has(address), false, address)
    }
  })

  it("trusts nobody when nothing is configured", () => {
    assert.equal(new TrustedProxies([]).has("127.0.0.1"), false)
  })

  for (const range of ["10.0.0.0/33", "10.0.0", "example.com", "10.0.0.0/", "10.0.0.0/-1", "10.0.0.0/8/8", "::/129"]) {
    it(`refuses the range ${range}`, () =>
      assert.throws(() => new TrustedProxies([range]), { code: "E_CONFIG_INVALID" }))
  }
})

describe("resolveOrigin", () => {
  it("takes the first address from the right that is not a trusted proxy", () => {
    assert.equal(resolve({ xForwardedFor: "1.1.1.1, 8.8.8.8, 10.0.0.2" }).clientAddress, "8.8.8.8")
    assert.equal(resolve({ forwarded: "for=1.1.1.1, for=8.8.8.8, for=10.0.0.2" }).clientAddress, "8.8.8.8")
  })

  it("never reads what the client wrote to the left of that address", () => {
    assert.equal(resolve({ xForwardedFor: "<script>, , 8.8.8.8" }).clientAddress, "8.8.8.8")
  })

  it("takes the outermost proxy when every hop is trusted", () => {
    assert.equal(resolve({ xForwardedFor: "10.0.0.3, 10.0.0.2" }).clientAddress, "10.0.0.3")
  })

  it("stays with the peer when nothing is said", () => {
    assert.deepEqual(resolve({}), { clientAddress: "10.0.0.1", scheme: undefined, host: undefined })
  })

  for (const [text, address] of [
    ["for=192.0.2.43", "192.0.2.43"],
    ['For="[2001:db9::17]:4711"', "2001:db9::17"],
    ['for="192.0.2.43:47011"', "192.0.2.43"],
    ['for="[::ffff:8.8.8.8]"', "8.8.8.8"],
    ["for=unknown", "10.0.0.1"],
    ["for=_gazonk", "10.0.0.1"],
    ["for=8.8.8.8, for=unknown", "10.0.0.1"],
    ["proto=https;by=203.0.113.43", "10.0.0.1"],
    ['for=8.8.8.8;ext="a,b;c\\"d"', "8.8.8.8"],
  ] as const) {
    it(`finds ${address} in Forwarded: ${text}`, () =>
      assert.equal(resolve({ forwarded: text }).clientAddress, address))
  }

  for (const forwarded of [
    'for="',
    'for=", for=8.8.8.8',
    "for=1.2.3.4.5",
    "for=<x>",
    "for=1;for=2",
    "for 1",
    "for=8.8.8.8;proto=javascript",
    "for=8.8.8.8;host=a/b",
    'for="[::1"',
  ]) {
    it(`refuses Forwarded: ${forwarded}`, () => {
      assert.throws(() => resolve({ forwarded }), { code: "E_REQUEST_INVALID" })
    })
  }

  for (const xForwardedFor of ["8.8.8", "0x7f.1", "localhost", "", "8.8.8.8;", "017700000001"]) {
    it(`refuses X-Forwarded-For: ${xForwardedFor}`, () => {
      assert.throws(() => resolve({ xForwardedFor }), { code: "E_REQUEST_INVALID" })
    })
  }

  it("takes scheme and host of the hop that saw the client", () => {
    const origin = resolve({
      forwarded: "for=8.8.8.8;proto=https;host=Shop.example, for=10.0.0.2;proto=http;host=inner",
    })
    assert.deepEqual(origin, { clientAddress: "8.8.8.8", scheme: "https", host: "shop.example" })
    const customary = resolve({
      xForwardedFor: "8.8.8.8, 10.0.0.2",
      xForwardedProto: "https, http",
      xForwardedHost: "Shop.example, inner",
    })
    assert.deepEqual(customary, origin)
  })

  it("takes the last scheme and host when their lists do not fit the chain", () => {
    const origin = resolve({ xForwardedFor: "8.8.8.8", xForwardedProto: "http, https", xForwardedHost: "evil, shop" })
    assert.deepEqual(origin, { clientAddress: "8.8.8.8", scheme: "https", host: "shop" })
  })

  it("refuses two forms that name different clients, since one of them may be forged", () => {
    assert.equal(resolve({ forwarded: "for=8.8.8.8", xForwardedFor: "8.8.8.8" }).clientAddress, "8.8.8.8")
    assert.throws(() => resolve({ forwarded: "for=1.1.1.1", xForwardedFor: "8.8.8.8" }), { code: "E_REQUEST_INVALID" })
  })

  it("reads a long header of blanks in linear time", () => {
    assert.throws(() => resolve({ forwarded: `${" ".repeat(200_000)}!` }), { code: "E_REQUEST_INVALID" })
  })
})

describe("toAddress", () => {
  it("shows IPv4-mapped IPv6 as IPv4 and drops zones", () => {
    assert.equal(toAddress("::ffff:127.0.0.1"), "127.0.0.1")
    assert.equal(toAddress("fe80::1%eth0"), "fe80::1")
    assert.equal(toAddress("192.0.2.1"), "192.0.2.1")
  })
})
