import wabt from "wabt"
import { PluginError } from "../../../src/errors.ts"
import type { HookName } from "../../../src/hooks.ts"
import { HOOK_NAMES } from "../../../src/hooks.ts"
import { InstanceAccount } from "../../../src/sandbox/limits/instance-account.ts"
import type { Limits } from "../../../src/sandbox/sandbox.ts"
import type { Abi, Guest, WaitingImport } from "../../../src/sandbox/wasm/abi.ts"
import { createCompiler } from "../../../src/sandbox/wasm/compile.ts"
import { NO_CALL } from "../../../src/sandbox/wasm/instance.ts"
import { WasmCall } from "../../../src/sandbox/wasm/wasm-call.ts"
import { MovableWasmSandbox, openInstance, type WasmSandbox } from "../../../src/sandbox/wasm/wasm-sandbox.ts"
import { RecordingServices } from "../../contracts/recording-services.ts"
import { LIMITS } from "../../contracts/sandbox-contract.ts"

const compiler = createCompiler()
const parser = await wabt()

export interface AnyGuestOptions {
  readonly mode?: "shared" | "fresh"
  readonly limits?: Partial<Limits>
  readonly account?: InstanceAccount
  /** What `host.wait` waits for; absent: the guest is entered plainly. */
  readonly wait?: (x: number) => Promise<number>
  /** Told when nobody waits for `wait` any more. */
  readonly stop?: () => void
  /** Called by `host.call`. */
  readonly call?: (guest: Guest, x: number) => number
}

export function toBinary(wat: string): Uint8Array {
  return parser.parseWat("guest.wat", wat, { tail_call: true }).toBinary({ write_debug_names: true }).buffer
}

/**
 * Loads a module through the tier with an ABI as small as can be: hooks are `() -> i32` and their result is the answer, `host.call` and
 * `host.wait` are `(i32) -> i32`.
 */
export async function loadAny(wat: string, options: AnyGuestOptions = {}): Promise<WasmSandbox> {
  const limits = { ...LIMITS, ...options.limits }
  const compiled = await compiler.compile("guest", toBinary(wat), limits.memoryBytes)
  const waiting: WaitingImport[] = options.wait === undefined ? [] : [{ module: "host", name: "wait", needs: null }]
  const hooks = new Set<HookName>(HOOK_NAMES.filter((name) => compiled.metered.shape.exports.has(name)))
  const abi: Abi = {
    name: "bext",
    check: () => ({ hooks, waiting }),
    bind: (guest) => ({
      imports: {
        host: {
          call(x: number) {
            guest.charge(20)
            return options.call?.(guest, x) ?? 0
          },
          wait(x: number) {
            return guest.wait(
              options.wait!(x),
              (value) => value,
              () => -1,
              options.stop,
            )
          },
        },
      },
      attach() {},
      enter: ({ hook }) => ({ exportName: hook, args: [] }),
      leave(_, result) {
        if ((result as number) < 0) throw new PluginError("E_GUEST_THREW", "guest", `returned ${result}`)
        return result as number
      },
      over() {},
    }),
  }
  const account = options.account ?? new InstanceAccount()
  const setup = {
    name: "guest",
    abi,
    compiled,
    services: new RecordingServices(),
    limits,
    mode: options.mode ?? "shared",
    account,
    waiting,
    usage: { busyMs: 0, entries: 0 },
    clockOffsetMs: 0,
  } as const
  const first = openInstance(setup)
  const contents = first.contents()
  const call = new WasmCall(NO_CALL, performance.now(), "its start")
  first.boot(call, performance.now())
  if (call.failure !== null) throw call.failure
  return new MovableWasmSandbox(setup, { first, image: null, contents, hooks })
}
