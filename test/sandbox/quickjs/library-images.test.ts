import assert from "node:assert/strict"
import { describe, it } from "node:test"
import { InstanceAccount } from "../../../src/sandbox/limits/instance-account.ts"
import { bootBase } from "../../../src/sandbox/quickjs/base.ts"
import { compileQuickjs } from "../../../src/sandbox/quickjs/binary.ts"
import { libraryOf } from "../../../src/sandbox/quickjs/library.ts"
import { LibraryImages } from "../../../src/sandbox/quickjs/library-images.ts"
import { MachinePool } from "../../../src/sandbox/quickjs/machine-pool.ts"
import { createQuickjsTier } from "../../../src/sandbox/quickjs/tier.ts"
import { RecordingExchange } from "../../contracts/recording-exchange.ts"
import { RecordingServices } from "../../contracts/recording-services.ts"
import { request } from "../../contracts/sandbox-contract.ts"
import { writeGuest } from "./write-guest.ts"

describe("guests that use the same library files", async () => {
  const tier = await createQuickjsTier()

  it("have a config each", async () => {
    const source = `export function onRequest(ctx) {
      return { action: "respond", body: bext.config.own + new URL("http://host/").host }
    }`
    for (const own of ["first", "second", "third"]) {
      const services = Object.assign(new RecordingServices(), { config: { own } })
      await using guest = await writeGuest(tier, source, { services })
      const exchange = new RecordingExchange("/")
      await guest.call(request(exchange))
      assert.equal(exchange.text, `${own}host`)
    }
  })

  it("never meet what another one made of the library", async () => {
    const hostile = `URL.prototype.toString = () => "broken"; Object.defineProperty(URL.prototype, "href", { value: "broken" })
      Headers.prototype.get = () => "broken"; globalThis.Response = "broken"
      export function onRequest() {}`
    const source = `export function onRequest() {
      const { href } = new URL("http://host/")
      return new Response(href, { headers: new Headers([["x-seen", new Headers([["a", "b"]]).get("a")]]) })
    }`
    for (let round = 0; round < 2; round++) {
      await using _ = await writeGuest(tier, hostile)
      await using guest = await writeGuest(tier, source)
      const exchange = new RecordingExchange("/")
      await guest.call(request(exchange))
      assert.equal(exchange.text, "http://host/")
    }
  })
})

describe("images of the library", () => {
  const base = bootBase(compileQuickjs())
  const images = () =>
    new LibraryImages(base, new MachinePool(base, new InstanceAccount({ maxInstances: 100, maxBytes: 2 ** 30 })))

  it("can be made of every file whose evaluation asks for nothing of a guest, and of no other", () => {
    const { shared, own } = libraryOf(() => true)
    for (const name of shared) assert.notDeepEqual(images().of([name]).heap, base.image.heap, name)
    assert.deepEqual(own, ["bext"])
    for (const name of own) assert.throws(() => images().of([name]), /asked for something of a guest/)
  })

  it("are made once, as long as they are among those used last", () => {
    const library = images()
    const { shared } = libraryOf(() => true)
    const sets = shared.flatMap((a, i) => shared.slice(i + 1).map((b) => [a, b])).slice(0, 33)
    const first = library.of(sets[0]!)
    const second = library.of(sets[1]!)
    for (const set of sets.slice(2, 32)) library.of(set)
    assert.equal(library.of(sets[0]!), first)
    library.of(sets[32]!)
    assert.equal(library.of(sets[0]!), first)
    assert.notEqual(library.of(sets[1]!), second)
  })
})
