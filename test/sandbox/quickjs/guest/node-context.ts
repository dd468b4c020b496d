import vm from "node:vm"
import { GUEST_FILES } from "../../../../src/sandbox/quickjs/guest/globals.ts"

/** What the guest's web globals look like to a test: values of another realm, so loosely typed. */
export interface GuestGlobals {
  // biome-ignore lint/suspicious/noExplicitAny: values that come out of another realm have no static type
  readonly [name: string]: any
}

export interface NodeContext {
  readonly guest: GuestGlobals
  /** Errors given to `$reportError`. */
  readonly reported: unknown[]
  /** Evaluates an expression where the guest's globals are the globals. */
  run(code: string): unknown
}

/** The guest library in a bare V8 realm: QuickJS's prelude does the same with its own `need`. */
export function createNodeContext(): NodeContext {
  const reported: unknown[] = []
  const realm = vm.createContext(Object.create(null), { microtaskMode: undefined })
  const services = vm.runInContext(
    `(encode, decode, report) => ({
      $utf8Encode: (text) => Uint8Array.from(encode(text)).buffer,
      $utf8Decode: (buffer) => decode(buffer),
      $reportError: report,
    })`,
    realm,
  )(
    (text: string) => Buffer.from(text),
    (buffer: ArrayBuffer) => Buffer.from(buffer).toString(),
    (error: unknown) => reported.push(error),
  )
  const values = new Map<string, unknown>(Object.entries(services))
  const need = (name: string): unknown => {
    if (!values.has(name)) {
      const file = GUEST_FILES.find((candidate) => candidate.provides.includes(name))
      if (file === undefined) throw new Error(`nothing provides ${name}`)
      for (const [key, value] of Object.entries(vm.runInContext(file.source, realm)(need))) values.set(key, value)
    }
    return values.get(name)
  }
  for (const name of GUEST_FILES.flatMap((file) => file.provides)) {
    if (name.startsWith("$")) continue
    Object.defineProperty(realm, name, { configurable: true, get: () => need(name) })
  }
  realm.setTimeout = setTimeout
  return {
    guest: new Proxy({}, { get: (_, name: string) => need(name) }),
    reported,
    run: (code) => vm.runInContext(code, realm),
  }
}
