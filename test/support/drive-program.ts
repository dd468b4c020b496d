import { spawn } from "node:child_process"
import { once } from "node:events"
import { fileURLToPath } from "node:url"
import type { Json } from "../../src/sandbox/sandbox.ts"

/** Where `import bext` is found: the host mounts it in a jail. */
export const PYTHON_SDK = fileURLToPath(new URL("../../sdk/python", import.meta.url))

export type Fields = Readonly<Record<string, Json>>

/** A line in which the program calls the host. */
export interface ProgramCall {
  readonly method: string
  readonly params: Fields
  readonly id?: number | string
  readonly call?: number
}

/** What the host answers: the value, or an error with a code. Undefined: nothing, ever. */
export type HostAnswer = { readonly value: Json } | { readonly error: { code: string; message: string } } | undefined

/** A plugin's program without a jail: what is written here goes to it as it is. */
export interface DrivenProgram extends AsyncDisposable {
  readonly pid: number
  /** The id that the next call will have. */
  readonly nextId: number
  /** Sends a call of the host with an id of its own, and resolves with the answer. */
  call(method: string, params?: Json): Promise<Fields>
  /** Sends `onRequest` for a request of which only this is said. */
  request(params: Fields): Promise<Fields>
  /** Writes a line as it is. */
  write(line: string): void
  /** Resolves with the next line that answers no `call` and does not call the host. */
  line(): Promise<string>
  /** What the program asked of the host so far. */
  readonly asked: readonly ProgramCall[]
  /** Resolves when the program has asked this of the host. */
  waitFor(method: string): Promise<ProgramCall>
  /** What it wrote to standard error. */
  log(): string
  /** Closes its standard input and resolves with its exit code when it has ended. */
  end(): Promise<number | NodeJS.Signals | null>
}

/** @param answer - Answers the program's calls; by default storage in memory does, see `memoryHost`. */
export function driveProgram(
  command: readonly string[],
  options: { cwd: string; env?: Readonly<Record<string, string>>; answer?: (call: ProgramCall) => HostAnswer },
): DrivenProgram {
  const { answer = memoryHost() } = options
  const env = { PATH: process.env.PATH, PYTHONPATH: PYTHON_SDK, PYTHONDONTWRITEBYTECODE: "1", ...options.env }
  const child = spawn(command[0]!, command.slice(1), { cwd: options.cwd, env, stdio: ["pipe", "pipe", "pipe"] })
  const waiting = new Map<number, (answer: Fields) => void>()
  const lines: string[] = []
  const asked: ProgramCall[] = []
  let log = ""
  let rest = ""
  let changed = Promise.withResolvers<void>()
  let isOver = false
  let lastId = 0
  const take = (line: string) => {
    const message = parse(line)
    const isAnswer = message !== null && ("ok" in message || "error" in message)
    if (message !== null && !isAnswer && typeof message.method === "string") {
      const call = message as unknown as ProgramCall
      asked.push(call)
      const result = answer(call)
      if (call.id !== undefined && result !== undefined) write({ method: "result", params: result, id: call.id })
    } else if (isAnswer && typeof message.id === "number" && waiting.has(message.id)) {
      waiting.get(message.id)!(message)
      waiting.delete(message.id)
    } else {
      lines.push(line)
    }
  }
  const write = (line: unknown) => child.stdin.write(typeof line === "string" ? line : `${JSON.stringify(line)}\n`)
  const tell = () => {
    changed.resolve()
    changed = Promise.withResolvers()
  }
  const until = async <T>(look: () => T | undefined): Promise<T> => {
    for (;;) {
      const found = look()
      if (found !== undefined) return found
      if (isOver) throw new Error(`the program has ended:\n${log}`)
      await changed.promise
    }
  }
  child.stdin.on("error", () => {})
  child.stderr.setEncoding("utf8").on("data", (text) => {
    log += text
    tell()
  })
  child.stdout.setEncoding("utf8").on("data", (text) => {
    const parts = `${rest}${text}`.split("\n")
    rest = parts.pop()!
    for (const line of parts) take(line)
    tell()
  })
  const closed = once(child, "close").then(() => {
    isOver = true
    tell()
  })
  const call = (method: string, params: Json = null) => {
    const id = lastId++
    let answer: Fields | undefined
    waiting.set(id, (fields) => {
      answer = fields
    })
    write({ method, params, id })
    return until(() => answer)
  }
  return {
    pid: child.pid!,
    get nextId() {
      return lastId
    },
    call,
    request: (params) => call("onRequest", params),
    write,
    line: () => until(() => lines.shift()),
    asked,
    waitFor: (method) => until(() => asked.find((call) => call.method === method)),
    log: () => log,
    async end() {
      child.stdin.end()
      await closed
      return child.exitCode ?? child.signalCode
    },
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL")
      await closed
    },
  }
}

/** Storage that is a map, and yes to everything else. */
export function memoryHost(stored = new Map<string, Json>()): (call: ProgramCall) => HostAnswer {
  return ({ method, params }) => {
    const key = String(params.key)
    if (method === "storage.get") return { value: stored.get(key) ?? null }
    if (method === "storage.set") stored.set(key, params.value!)
    if (method === "storage.incr") {
      stored.set(key, Number(stored.get(key) ?? 0) + Number(params.by ?? 1))
      return { value: stored.get(key)! }
    }
    return { value: null }
  }
}

function parse(line: string): Fields | null {
  try {
    return JSON.parse(line) as Fields
  } catch {
    return null
  }
}
