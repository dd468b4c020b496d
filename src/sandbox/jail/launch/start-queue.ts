/** Milliseconds between two starts, for everything else that waits. What bext itself does for one takes about one. */
const PAUSE_MS = 2

/** Starts processes one by one: each holds up the event loop a little, and many at once would be felt by every request. */
export class StartQueue {
  #last: Promise<unknown> = Promise.resolve()

  /** Runs `start` in a turn of the event loop in which no other runs. */
  run<T>(start: () => T): Promise<T> {
    const turn = this.#last.then(start)
    this.#last = turn.then(pause, pause)
    return turn
  }
}

function pause(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, PAUSE_MS))
}
