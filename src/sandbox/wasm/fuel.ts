import type { ErrorCode } from "../../errors.ts"
import type { Budget } from "../limits/budget.ts"
import { Spent } from "./failures.ts"

/** Exports that the rewriter added: units left, and a way to set them. */
export interface FuelCounter {
  get(): number
  set(units: number): void
}

/** Units granted at a time: the clock is asked between two slices. */
const SLICE = 100_000

/**
 * What a call may still use of its fuel. The guest counts its own part down, the host adds what it does for the guest; the
 * sum does not depend on the time anything takes. The counter is the guest's, so it is only ever compared.
 */
export class Fuel {
  /** Why the guest had to stop, once it had to for want of fuel. */
  verdict: ErrorCode | null = null
  readonly #budget: Budget
  #counter!: FuelCounter
  #limit = 0
  /** Given to the counter so far. */
  #granted = 0
  /** What the host did. */
  #charged = 0
  #unasked = 0

  constructor(budget: Budget) {
    this.#budget = budget
  }

  /** Before anything else. */
  attach(counter: FuelCounter): void {
    this.#counter = counter
  }

  /** Begins a call. */
  begin(limit: number): void {
    this.verdict = null
    this.#limit = limit
    this.#granted = Math.min(limit, SLICE)
    this.#charged = 0
    this.#unasked = 0
    this.#counter.set(this.#granted)
  }

  /** The call is over although its guest may come back from a wait: then it stops where it first asks or is asked. */
  stop(): void {
    this.verdict = "E_LIMIT_TIME"
    this.#counter.set(-1)
  }

  /** Units used since `begin`. */
  get used(): number {
    return this.#granted - this.#counter.get() + this.#charged
  }

  get over(): boolean {
    return this.used > this.#limit
  }

  /** Asked by the guest when its counter is below zero. @returns units to add; 0 when it has to stop. */
  readonly refill = (): number => {
    if (this.verdict !== null) return 0
    const left = this.#counter.get()
    const rest = this.#limit - this.used
    if (rest < 0) this.verdict = "E_LIMIT_FUEL"
    if (rest < 0 || this.#budget.spent()) return 0
    const units = Math.min(rest, SLICE) - left
    this.#granted += units
    return units
  }

  /** Counts work of the host. @throws {Spent} */
  charge(units: number): void {
    if (this.verdict !== null) throw new Spent()
    this.#charged += units
    this.#unasked += units
    if (this.#unasked < SLICE) return
    this.#unasked = 0
    if (this.over) this.verdict = "E_LIMIT_FUEL"
    if (this.verdict !== null || this.#budget.spent()) throw new Spent()
  }
}
