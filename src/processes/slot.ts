import type { Child } from "./child.ts"
import { RestartDelay } from "./restart-delay.ts"

/** The place of one serving process; another takes it when that one ended. */
export class Slot {
  /** The process that serves; null while there is none. */
  child: Child | null = null
  /** The process that is about to, beside the one that serves when it is replaced. */
  starting: Child | null = null
  /** How often a process ended here without being asked to, or could not start. */
  crashes = 0
  /** Given up: nothing starts here any more. */
  removed = false
  readonly #delay = new RestartDelay()
  #timer: NodeJS.Timeout | undefined
  #restart: (() => void) | null = null

  /**
   * Calls `restart` after a while.
   * @param livedMs - How long the process served; 0 when it never did.
   * @returns after how many milliseconds.
   */
  restartLater(livedMs: number, restart: () => void): number {
    const delayMs = this.#delay.next(livedMs)
    this.#restart = restart
    this.#timer = setTimeout(() => this.restartNow(), delayMs)
    return delayMs
  }

  /** Ends the wait, if there is one. */
  restartNow(): void {
    const restart = this.#restart
    this.cancelRestart()
    restart?.()
  }

  cancelRestart(): void {
    clearTimeout(this.#timer)
    this.#restart = null
  }
}
