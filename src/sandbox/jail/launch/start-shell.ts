import { type ChildProcess, spawn } from "node:child_process"
import { closeSync, constants, existsSync, openSync, readlinkSync, rmSync, writeFileSync } from "node:fs"
import { Socket } from "node:net"
import { join } from "node:path"
import { createInterface } from "node:readline"
import { type ExecChain, FILTER_DESCRIPTOR, FIRST_CGROUP_DESCRIPTOR, STATUS_DESCRIPTOR } from "./exec-chain.ts"
import { PATH } from "./jail-paths.ts"
import { type ProcessEnd, type SpawnedProcess, type StartFiles, toStdio } from "./start-process.ts"

/** What becomes another user, which a shell cannot. Of util-linux, which every distribution has. */
const SETPRIV = "/usr/bin/setpriv"

/** The shell's own way to answer, which programs do not get. */
const ANSWERS = 9

/** Pipes of one program, open on this side. */
interface Pipes {
  readonly name: string
  readonly stdin: number
  readonly stdout: number
  readonly stderr: number
  readonly status: number
}

const ENDS = ["in", "out", "err", "status"] as const

/**
 * Starts programs for bext: to start one, a process is copied first, and copying bext holds up its event loop for longer the more
 * memory it has, tens of milliseconds at some hundred MiB. A shell is small. Programs are its children, and the kernel ends
 * them with it; it ends when its input does, that is with bext.
 */
export class StartShell {
  readonly #folder: string
  readonly #shell: ChildProcess
  readonly #input: Socket
  readonly #output: Socket
  readonly #ended: Promise<unknown>
  readonly #waiting = new Map<string, { resolve(rest: string): void; reject(error: Error): void }>()
  #gone = false
  #starts = 0
  #next: Promise<Pipes>

  /** Whether it can start programs as another user. */
  static canBecome(user: ExecChain["user"]): boolean {
    return user === undefined || existsSync(SETPRIV)
  }

  /** @param folder - Absolute path of a folder nobody else writes to. */
  constructor(folder: string, inherited: readonly number[]) {
    this.#folder = folder
    const opened: number[] = []
    let shell: ChildProcess
    try {
      const stdio = toStdio({ filter: null, cgroups: [], inherited }, opened)
      stdio[2] = "ignore"
      const loop = 'while IFS= read -r line; do eval "$line"; done'
      shell = spawn("/bin/sh", ["-c", loop], { cwd: "/", env: { PATH }, detached: true, stdio })
    } finally {
      for (const descriptor of opened) closeSync(descriptor)
    }
    const { stdin, stdout } = shell
    if (stdin === null || stdout === null) throw new Error("no shell can be started to start programs")
    this.#shell = shell
    // What "pipe" is in Node.
    this.#input = stdin as Socket
    this.#output = stdout as Socket
    stdin.on("error", () => {})
    createInterface({ input: stdout }).on("line", (line) => this.#answered(line))
    this.#ended = new Promise((resolve) => {
      shell.on("exit", resolve).on("error", resolve)
    })
    void this.#ended.then(() => this.#end())
    this.#next = this.#makePipes()
    this.#next.catch(() => {})
  }

  get gone(): boolean {
    return this.#gone
  }

  /** @throws {Error} When it could not even be tried. */
  async start(chain: ExecChain, files: StartFiles): Promise<SpawnedProcess> {
    // By name: the shell opens them itself, as whoever bext is.
    const cgroups = files.cgroups.map((descriptor) => readlinkSync(`/proc/self/fd/${descriptor}`))
    for (const descriptor of files.cgroups) closeSync(descriptor)
    try {
      return await this.#try(chain, files.filter, cgroups)
    } catch {
      // Pipes that were made ahead may be gone by now, with other old files.
      return this.#try(chain, files.filter, cgroups)
    }
  }

  /** Ends it, and whatever it has started. */
  async close(): Promise<void> {
    await this.#next.then(closePipes, () => {})
    this.#shell.ref()
    this.#input.end()
    await this.#ended
  }

  async #try(chain: ExecChain, filter: string | null, cgroups: readonly string[]): Promise<SpawnedProcess> {
    const made = this.#next
    // Ahead: it takes the shell about a millisecond.
    this.#next = made.then(
      () => this.#makePipes(),
      () => this.#makePipes(),
    )
    this.#next.catch(() => {})
    const pipes = await made
    const { name } = pipes
    const script = join(this.#folder, `${name}.sh`)
    try {
      const started = this.#answer(`${name} pid`)
      const opened = this.#answer(`${name} opened`)
      writeFileSync(script, startScript(name, this.#folder, chain, filter, cgroups), { mode: 0o600 })
      this.#tell(`. ${quote(script)}`)
      if ((await opened) !== "all") throw new Error("what a program is started with cannot be opened")
      return this.#toProcess(pipes, Number(await started))
    } catch (error) {
      closePipes(pipes)
      throw error
    } finally {
      for (const end of [...ENDS, "sh"]) rmSync(join(this.#folder, `${name}.${end}`), { force: true })
    }
  }

  #toProcess(pipes: Pipes, pid: number): SpawnedProcess {
    const status = new Socket({ fd: pipes.status, readable: true, writable: false })
    const stdout = new Socket({ fd: pipes.stdout, readable: true, writable: false })
    const stderr = new Socket({ fd: pipes.stderr, readable: true, writable: false })
    const stdin = new Socket({ fd: pipes.stdin, readable: false, writable: true })
    const statusClosed = new Promise<void>((resolve) => status.once("close", () => resolve()))
    const ended = statusClosed.then(() => this.#reap(pipes.name, pid))
    const streams = [stdout, stderr].map(
      (stream) => new Promise<void>((resolve) => stream.once("close", () => resolve())),
    )
    const closed = Promise.all([ended, ...streams]).then(() => {})
    return { pid, ended, closed, stdin, stdout, stderr, status, kill: () => killNow(pid) }
  }

  /** Bubblewrap is the last that has the status, so it has ended or is about to. */
  async #reap(name: string, pid: number): Promise<ProcessEnd> {
    const answer = this.#answer(`${name} exit`)
    this.#tell(`wait ${pid}; echo ${name} exit $?`)
    try {
      return { code: Number(await answer), signal: null }
    } catch {
      return { code: null, signal: "SIGKILL" }
    }
  }

  async #makePipes(): Promise<Pipes> {
    this.#starts += 1
    const name = `start-${this.#starts}`
    const made = this.#answer(`${name} made`)
    this.#tell(
      `mkfifo -m 600 ${ENDS.map((end) => quote(join(this.#folder, `${name}.${end}`))).join(" ")}; echo ${name} made`,
    )
    await made
    const opened: number[] = []
    const open = (end: (typeof ENDS)[number], flags: number) => {
      opened.push(openSync(join(this.#folder, `${name}.${end}`), flags | constants.O_NONBLOCK))
      return opened.at(-1) ?? -1
    }
    try {
      return {
        name,
        // To open it for writing alone would wait for the program.
        stdin: open("in", constants.O_RDWR),
        stdout: open("out", constants.O_RDONLY),
        stderr: open("err", constants.O_RDONLY),
        status: open("status", constants.O_RDONLY),
      }
    } catch (error) {
      for (const descriptor of opened) closeSync(descriptor)
      throw error
    }
  }

  #tell(line: string): void {
    this.#input.write(`${line}\n`)
  }

  #answer(what: string): Promise<string> {
    const answer = new Promise<string>((resolve, reject) => {
      if (this.#gone) reject(new Error("the shell that starts programs has ended"))
      else this.#waiting.set(what, { resolve, reject })
      this.#hold()
    })
    answer.catch(() => {})
    return answer
  }

  #answered(line: string): void {
    const [, what = "", rest = ""] = /^(\S+ \S+) ?(.*)$/.exec(line) ?? []
    this.#waiting.get(what)?.resolve(rest)
    this.#waiting.delete(what)
    this.#hold()
  }

  /** Keeps bext's process from ending while somebody waits for an answer, and only then. */
  #hold(): void {
    for (const handle of [this.#shell, this.#input, this.#output]) {
      if (this.#waiting.size > 0) handle.ref()
      else handle.unref()
    }
  }

  #end(): void {
    this.#gone = true
    for (const { reject } of this.#waiting.values()) reject(new Error("the shell that starts programs has ended"))
    this.#waiting.clear()
  }
}

function killNow(pid: number): void {
  try {
    process.kill(pid, "SIGKILL")
  } catch {
    // It is gone already.
  }
}

function closePipes({ stdin, stdout, stderr, status }: Pipes): void {
  for (const descriptor of [stdin, stdout, stderr, status]) closeSync(descriptor)
}

function startScript(
  name: string,
  folder: string,
  chain: ExecChain,
  filter: string | null,
  cgroups: readonly string[],
): string {
  const path = (end: string) => quote(join(folder, `${name}.${end}`))
  const user = chain.user
  const become = user === undefined ? [] : [SETPRIV, "--reuid", user.uid, "--regid", user.gid, "--clear-groups", "--"]
  const doors = cgroups.map((cgroup, index) => `${FIRST_CGROUP_DESCRIPTOR + index}>${quote(cgroup)}`)
  const from = filter === null ? "" : `${FILTER_DESCRIPTOR}<${quote(filter)}`
  return [
    "(",
    `exec ${ANSWERS}>&1`,
    `trap 'echo ${name} opened nothing >&${ANSWERS}' EXIT`,
    `exec 0<${path("in")} 1>${path("out")} 2>${path("err")} ${STATUS_DESCRIPTOR}>${path("status")} ${from} ${doors.join(" ")}`,
    "trap - EXIT",
    `echo ${name} opened all >&${ANSWERS}`,
    `exec ${ANSWERS}>&-`,
    `set -- ${[...become, ...chain.words].map((word) => quote(String(word))).join(" ")}`,
    chain.script,
    ") &",
    `echo ${name} pid $!`,
    "",
  ].join("\n")
}

function quote(word: string): string {
  return `'${word.replaceAll("'", `'\\''`)}'`
}
