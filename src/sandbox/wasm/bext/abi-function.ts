import type { Guest, ImportedFunction, WaitingImport } from "../abi.ts"
import type { Conversation, Refused } from "./conversation.ts"

/** A function that modules may import. */
export interface AbiFunction {
  /** As in `ModuleShape`. */
  readonly type: string
  /**
   * Units of fuel it takes besides those for what it reads and writes: what it costs the host's thread, at some thousands
   * for a microsecond, so that the budgets are asked often enough.
   */
  readonly fuel: number
  /** It works while the module is being loaded. */
  readonly early: boolean
  /** What must be granted for the guest to wait in it; null: nothing; undefined: it does not wait. */
  readonly waits: WaitingImport["needs"] | undefined
  readonly refused: Refused
  readonly run: (talk: Conversation, ...args: never[]) => Result
}

type Result = ReturnType<ImportedFunction>

interface Values {
  readonly i32: number
  readonly i64: bigint
  readonly f64: number
}

type Arguments<T extends string> = T extends ""
  ? []
  : T extends `${infer First extends keyof Values} ${infer Rest}`
    ? [Values[First], ...Arguments<Rest>]
    : T extends keyof Values
      ? [Values[T]]
      : never

type ArgumentsOf<T extends string> = T extends `(${infer P}) -> (${string})` ? Arguments<P> : never

type ResultOf<T extends string> = T extends `(${string}) -> (${infer R extends keyof Values})`
  ? Values[R] | ReturnType<Guest["wait"]>
  : // biome-ignore lint/suspicious/noConfusingVoidType: functions without a result
    void

/** @param run - Throws what is refused. */
export function define<const T extends string>(
  type: T,
  run: (talk: Conversation, ...args: ArgumentsOf<T>) => ResultOf<T>,
  { fuel = 0, early = false, waits }: Partial<Pick<AbiFunction, "fuel" | "early" | "waits">> = {},
): AbiFunction {
  // That the arguments fit the type is what the compiler checked just now.
  return { type, fuel, early, waits, refused: refusedOf(type), run: run as unknown as AbiFunction["run"] }
}

/** Every call of an imported function. */
const CALL_UNITS = 20

type Argument = number | bigint | undefined

/** The function as one instance imports it. */
export function bindFunction({ fuel, early, waits, refused, run }: AbiFunction, talk: Conversation): ImportedFunction {
  const { guest } = talk
  const units = CALL_UNITS + fuel
  const enter = run as (talk: Conversation, ...args: Argument[]) => Result
  return (a: Argument, b: Argument, c: Argument, d: Argument, e: Argument, f: Argument, g: Argument) => {
    guest.charge(units)
    if (waits !== undefined) talk.mayWait()
    try {
      if (!early && guest.current === null) {
        throw talk.refused("E_PERMISSION", "called while the module is being loaded, outside of any hook")
      }
      return enter(talk, a, b, c, d, e, f, g)
    } catch (error) {
      return talk.refuse(error, refused)
    }
  }
}

function refusedOf(type: string): Refused {
  if (type.endsWith("(i64)")) return "buffer"
  return type.endsWith("(i32)") ? "number" : "nothing"
}
