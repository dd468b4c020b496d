import { closeSync, openSync } from "node:fs"
import { constants } from "node:os"

/** What a server does when it is told. */
export interface Obedient {
  /** SIGTERM or SIGINT, the first time. */
  stop(signal: NodeJS.Signals): void
  /** SIGHUP. */
  reload(): void
  /** The process ends in a moment: what must not outlive it is ended here. */
  kill(): void
}

type EndSignal = "SIGTERM" | "SIGINT" | "SIGHUP"

/**
 * The signals a server obeys, from the moment this is made: as process 1 of a container it would otherwise not hear those
 * that come while it starts.
 */
export class Signals {
  #obedient: Obedient | null = null
  #stopping = false
  #reloadMissed = false
  readonly #startedOnTerminal = hasTerminal()

  constructor() {
    process.on("SIGHUP", () => this.#hangUp())
    for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, () => this.#stop(signal))
  }

  /** The server has started. */
  obeyedBy(obedient: Obedient): void {
    this.#obedient = obedient
    if (this.#reloadMissed) obedient.reload()
  }

  /** The signal was named after the other reason for it: a window that was closed takes its server with it. */
  #hangUp(): void {
    if (this.#startedOnTerminal && !hasTerminal()) {
      this.#obedient?.kill()
      endBy("SIGHUP")
    } else if (this.#obedient === null) this.#reloadMissed = true
    else if (!this.#stopping) this.#obedient.reload()
  }

  #stop(signal: "SIGTERM" | "SIGINT"): void {
    if (this.#obedient === null || this.#stopping) {
      this.#obedient?.kill()
      endBy(signal)
      return
    }
    this.#stopping = true
    this.#obedient.stop(signal)
  }
}

/** Ends this process as if nobody listened to the signal. */
function endBy(signal: EndSignal): void {
  // Nobody can end process 1 of a container by a signal it does not listen to, itself included.
  if (process.pid === 1) process.exit(128 + constants.signals[signal])
  process.removeAllListeners(signal)
  process.kill(process.pid, signal)
}

/** Whether there is a terminal whose end would be told by SIGHUP, and it has not ended. */
function hasTerminal(): boolean {
  try {
    closeSync(openSync("/dev/tty", "r"))
    return true
  } catch {
    return false
  }
}
