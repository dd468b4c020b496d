import { type ChildProcess, spawn } from "node:child_process"
import { closeSync, openSync } from "node:fs"
import { fileURLToPath } from "node:url"
import type { Facility } from "../../../../src/sandbox/jail/launch/probe-isolation.ts"
import type { Isolation } from "../../../../src/sandbox/jail/launcher.ts"
import type { Attack, Order, Outcome, Place, Report } from "./orders.ts"

/** Descriptors of the attack host that are open although it never opened them. Node closes such below 16 by itself. */
export const INHERITED = [40, 90] as const

/** In the environment of the attack host. */
export const MARKER = "of-the-host-and-secret"

/** Who starts jails, and how. */
export interface AttackUser {
  /** Null: the one that runs the tests. */
  readonly uid: number | null
  /** What is not used though the machine has it. */
  readonly without?: readonly Facility[]
}

export interface AttackHost extends AsyncDisposable {
  readonly isolation: Isolation
  readonly uid: number
  readonly pid: number
  run(place: Place, attack: Attack): Promise<Outcome>
  /** Starts what stays. @returns its number, once it has written a line. */
  begin(place: Place, attack: Attack): Promise<number>
  /** Ends what stays, and all that it started. */
  end(begun: number): Promise<Outcome>
  kill(): Promise<void>
}

/** @param inherited - A file that it has open without knowing. */
export async function startAttackHost(user: AttackUser, folder: string, inherited: string): Promise<AttackHost> {
  const secret = openSync(inherited, "r")
  const stdio = Array.from({ length: 1 + Math.max(...INHERITED) }, (_, fd) => stdioOf(fd, secret))
  const script = fileURLToPath(new URL("attack-host.ts", import.meta.url))
  const child = spawn(process.execPath, [script, folder, ...(user.without ?? [])], {
    stdio,
    cwd: "/",
    env: { PATH: process.env.PATH, HOST_SECRET: MARKER },
    ...(user.uid === null ? {} : { uid: user.uid, gid: user.uid }),
  })
  closeSync(secret)
  const waiting = new Map<number, { resolve(outcome: Outcome): void; reject(error: Error): void }>()
  const exited = new Promise<void>((done) => child.once("exit", () => done()))
  const hello = await new Promise<Extract<Report, { isolation: Isolation }>>((resolve, reject) => {
    child.once("error", reject)
    child.once("exit", (code) => reject(new Error(`the attack host ended with ${code}`)))
    child.on("message", (report: Report) => {
      if ("isolation" in report) resolve(report)
      else if ("outcome" in report) waiting.get(report.id)?.resolve(report.outcome)
      else waiting.get(report.id)?.reject(new Error(report.failure))
    })
  })
  child.once("exit", () => {
    for (const { reject } of waiting.values()) reject(new Error("the attack host is gone"))
  })
  let last = 0
  const send = (order: WithoutId<Order>) => {
    const id = ++last
    return { id, outcome: ask(child, waiting, { ...order, id }) }
  }
  const kill = () => {
    child.kill("SIGKILL")
    return exited
  }
  return {
    isolation: hello.isolation,
    uid: hello.uid,
    pid: child.pid!,
    run: (place, attack) => send({ do: "run", place, attack }).outcome,
    async begin(place, attack) {
      const { id, outcome } = send({ do: "begin", place, attack })
      await outcome
      return id
    },
    end: (begun) => send({ do: "end", begun }).outcome,
    kill,
    [Symbol.asyncDispose]: kill,
  }
}

type WithoutId<O> = O extends unknown ? Omit<O, "id"> : never

function stdioOf(fd: number, secret: number): "ignore" | "inherit" | "ipc" | number {
  if (fd === 1 || fd === 2) return "inherit"
  if (fd === 3) return "ipc"
  return (INHERITED as readonly number[]).includes(fd) ? secret : "ignore"
}

function ask(
  child: ChildProcess,
  waiting: Map<number, { resolve(outcome: Outcome): void; reject(error: Error): void }>,
  order: Order,
): Promise<Outcome> {
  return new Promise<Outcome>((resolve, reject) => {
    waiting.set(order.id, { resolve, reject })
    child.send(order, (error) => error && reject(error))
  }).finally(() => waiting.delete(order.id))
}
