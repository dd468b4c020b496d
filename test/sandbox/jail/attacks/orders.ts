import type { Isolation, JailLimits } from "../../../../src/sandbox/jail/launcher.ts"

/** Where an attack is run: by an ordinary child process, or in a jail. */
export type Place = "plain" | "jail"

/** What the test asks of an attack host. */
export type Order =
  | { readonly id: number; readonly do: "run"; readonly place: Place; readonly attack: Attack }
  /** Answered when the program has written a line; it stays until `end`, or longer. */
  | { readonly id: number; readonly do: "begin"; readonly place: Place; readonly attack: Attack }
  | { readonly id: number; readonly do: "end"; readonly begun: number }

export interface Attack {
  readonly args: readonly string[]
  readonly limits?: Partial<JailLimits>
  readonly dataFolder?: string
  readonly readOnlyPaths?: readonly string[]
}

export interface Outcome {
  readonly out: string
  readonly err: string
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly outOfMemory: boolean
  /** Of everything in the jail, just before it ended. */
  readonly cpuMs: number
}

export type Report =
  | { readonly isolation: Isolation; readonly uid: number }
  | { readonly id: number; readonly outcome: Outcome }
  | { readonly id: number; readonly failure: string }
