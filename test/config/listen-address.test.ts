import assert from "node:assert/strict"
import { describe, it } from "node:test"
import { formatListenAddress, parseListenAddress } from "../../src/config/listen-address.ts"

describe("parseListenAddress", () => {
  for (const [text, host, port] of [
    ["127.0.0.1:3000", "127.0.0.1", 3000],
    ["localhost:80", "localhost", 80],
    ["[::1]:0", "::1", 0],
    [":65535", undefined, 65535],
    ["app-1.internal:8080", "app-1.internal", 8080],
  ] as const) {
    it(`reads ${text} and writes it the same`, () => {
      assert.deepEqual(parseListenAddress(text), { host, port })
      assert.equal(formatListenAddress({ host, port }), text)
    })
  }

  for (const text of [
    "",
    "3000",
    "127.0.0.1",
    "::1:3000",
    "[::1]",
    "[127.0.0.1]:1",
    "[]:1",
    "1.2.3:1",
    "1.2.3.256:1",
    "a:65536",
    "a:-1",
    "a b:1",
    "-a:1",
    "http://a:1",
    "a:1\n",
  ]) {
    it(`refuses ${JSON.stringify(text)}`, () => assert.equal(parseListenAddress(text), undefined))
  }
})
