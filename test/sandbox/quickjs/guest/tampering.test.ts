import assert from "node:assert/strict"
import { test } from "node:test"
import { ERRORS, PluginError } from "../../../../src/errors.ts"
import { answerOf, loadGuest } from "./quickjs-guest.ts"

const USES = {
  response: "new Response('x', { headers: { a: 'b' } })",
  url: "new Response(new URL('/x?a=b', 'http://[::1]:8080').searchParams.get('a'))",
  clone: "new Response(String(structuredClone(new Map([[1, { a: 2 }]])).size))",
  base64: "new Response(atob(btoa('x')))",
  params: "new Response(ctx.searchParams.get('q'))",
}

const TAMPERINGS = [
  "for (const name of Object.getOwnPropertyNames(Array.prototype)) if (typeof [][name] === 'function') Array.prototype[name] = () => { throw 1 }",
  "for (const name of Object.getOwnPropertyNames(String.prototype)) if (name !== 'length') String.prototype[name] = () => ({ toString: 1 })",
  "Array.prototype[Symbol.iterator] = function* () { for (let i = 0; i < 50; i++) yield ['a', 'b'] }",
  "Object.defineProperty(Array.prototype, 0, { set() { throw new Error('caught you') }, get() { return this } })",
  "Object.defineProperty(Object.prototype, 'status', { get() { return {} }, set() {} }); Object.prototype.headers = 7; Object.prototype.body = {}",
  "Object.prototype.then = (resolve) => resolve({ action: 'respond' })",
  "RegExp.prototype.exec = () => ({ 0: 'x', 1: {}, index: -1 }); RegExp.prototype.test = () => false",
  "globalThis.Uint8Array = globalThis.Map = globalThis.Headers = globalThis.TextEncoder = class { constructor() { throw 2 } }",
  "Function.prototype.call = Function.prototype.apply = Function.prototype.bind = () => 9",
  "JSON.stringify = JSON.parse = () => '['; Symbol.prototype[Symbol.toPrimitive] = () => 1",
  "Promise.prototype.then = () => ({}); Promise.resolve = Promise",
  "Reflect.apply = Reflect.defineProperty = Object.defineProperty = Object.keys = () => { throw null }",
  "for (const name of Reflect.ownKeys(globalThis)) if (name !== 'Response') try { delete globalThis[name] } catch {}",
]

for (const [use, expression] of Object.entries(USES)) {
  for (const when of ["before", "after"] as const) {
    test(`a guest that breaks the language ${when} it uses ${use} breaks itself at most`, async () => {
      for (const tampering of TAMPERINGS) {
        // The library is evaluated when first used: with `after`, it took what it needs from an intact language.
        const code = `
          ${when === "before" ? tampering : ""}
          let done = false
          export function onRequest(ctx) {
            const result = ${expression}
            if (${when === "after"} && !done) { done = true; ${tampering} }
            return result
          }`
        let guest: Awaited<ReturnType<typeof loadGuest>>
        try {
          guest = await loadGuest({ "index.js": code })
        } catch (error) {
          assertGuestIsBlamed(error, tampering)
          continue
        }
        for (let call = 0; call < 3; call++) {
          try {
            assert.equal(typeof (await answerOf(guest, "q=1", 50)), "string")
          } catch (error) {
            assertGuestIsBlamed(error, tampering)
          }
        }
        await guest[Symbol.asyncDispose]()
      }
    })
  }
}

function assertGuestIsBlamed(error: unknown, tampering: string): void {
  if (!(error instanceof PluginError)) throw error
  assert.equal(ERRORS[error.code].blame, "guest", `${tampering}: ${error.stack}`)
}
