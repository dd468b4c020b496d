import { createInterface, type Interface } from "node:readline/promises"
import { Cancelled } from "./cancelled.ts"

/** Whether there is a person to ask. */
export function canAsk(): boolean {
  return process.stdin.isTTY === true && process.stdout.isTTY === true
}

/** @throws {Cancelled} */
export async function ask(question: string): Promise<string> {
  const terminal = createInterface({ input: process.stdin, output: process.stdout })
  try {
    return (await Promise.race([terminal.question(question), ended(terminal)])).trim()
  } finally {
    terminal.close()
  }
}

/** Yes needs to be said; everything else is no. @throws {Cancelled} */
export async function confirm(question: string): Promise<boolean> {
  return /^y(es)?$/i.test(await ask(`${question} [y/N] `))
}

function ended(terminal: Interface): Promise<never> {
  return new Promise((_, reject) => {
    terminal.once("SIGINT", () => reject(new Cancelled()))
    terminal.once("close", () => reject(new Cancelled()))
  })
}
