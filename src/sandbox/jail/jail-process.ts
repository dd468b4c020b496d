import { setTimeout as delay } from "node:timers/promises"
import { type ErrorCode, PluginError } from "../../errors.ts"
import { HOOKS, type HookName } from "../../hooks.ts"
import type { GuestServices } from "../../host/services.ts"
import { watchCall } from "../limits/watch-call.ts"
import type { HookCall, Limits, ProgramSource } from "../sandbox.ts"
import { CpuShares } from "./cpu-shares.ts"
import { exitError } from "./exit-error.ts"
import { JailCall } from "./jail-call.ts"
import type { Jail } from "./launcher.ts"
import { applyAnswer } from "./messages/apply-answer.ts"
import { HELLO_ID, type Hello, helloLine, readHello } from "./messages/hello.ts"
import { toLineBytes } from "./messages/line-bytes.ts"
import { parseAnswer0, parseLine } from "./messages/parse-line.ts"
import { ProtocolFault } from "./messages/protocol-fault.ts"
import { toCallLine, toLine } from "./messages/write-line.ts"
import { ProgramCalls } from "./program-calls.ts"
import { hooksOf } from "./program-hooks.ts"
import { ProgramInput } from "./program-input.ts"
import { ProgramOutput } from "./program-output.ts"
import type { Answer } from "./protocol.ts"
import { StandardError } from "./standard-error.ts"

/** What all processes of one guest have in common. */
export interface ProcessSetup {
  readonly name: string
  readonly services: GuestServices
  readonly limits: Limits
  readonly program: ProgramSource
}

/** Bytes that may wait to be read by the program; over it, it gets no more calls, and no more of its own are read. */
const MAX_UNREAD_BYTES = 1024 * 1024
/** How long a program may hold on to a call that was cancelled. */
const LET_GO_MS = 1000
/** A program that did nothing else was waiting for a line it understands. */
const IDLE_CPU_MS = 1000
/** Time between the end of its input and the end of the program. */
const FAREWELL_MS = 1000
/** What it wrote may arrive after the news of its end; and its end after that of its output. */
const LAST_WORDS_MS = 500

const NOTHING: ReadonlySet<ErrorCode> = new Set()

/** The time of a start. */
const HELLO: HookCall = {
  hook: "on_server_start",
  exchange: null,
  params: [],
  tenant: null,
  limits: HOOKS.on_server_start,
  leader: false,
  signal: null,
}

/** One process of a guest, from its start to its end. */
export class JailProcess {
  readonly #setup: ProcessSetup
  readonly #jail: Jail
  readonly #input: ProgramInput
  readonly #output: ProgramOutput
  readonly #calls: ProgramCalls
  readonly #errors: StandardError
  readonly #cpu: CpuShares
  /** Calls that were sent and not answered, oldest first, by id. */
  readonly #sent = new Map<number, JailCall>()
  /** Those of them that nobody waits for any more; each ends the process unless it is answered in time. */
  readonly #cancelled = new Map<JailCall, NodeJS.Timeout>()
  #lastId = HELLO_ID
  #hello: Hello | null = null
  #helloTaken: (() => void) | null = null
  #isLeader = false
  #used = false
  #hasExited = false
  #usedMs = 0
  #reason: PluginError | null = null
  readonly #ended: Promise<void>
  /** It can take a call again, or ended. */
  onChange: (() => void) | null = null

  constructor(setup: ProcessSetup, jail: Jail) {
    this.#setup = setup
    this.#jail = jail
    this.#input = new ProgramInput(jail.stdin, () => this.#written())
    this.#output = new ProgramOutput(jail.stdout, toLineBytes(setup.limits), {
      take: (line) => this.#take(line),
      fault: (error) => this.#fault(error),
      done: () => this.#hasRead(),
    })
    this.#calls = new ProgramCalls(
      setup,
      (id) => this.#sent.get(id),
      (line) => this.#write(line),
      () => this.#input.unread,
    )
    this.#errors = new StandardError(jail.stderr, setup.services)
    this.#cpu = new CpuShares(
      () => this.#sent.values(),
      () => this.cpuMs,
      (call) => this.stop(this.#outOfCpu(call), call),
    )
    this.#ended = this.#whenEnded()
    this.#output.ended.then(() => this.#hasSaidAll())
  }

  get hooks(): ReadonlySet<HookName> {
    const { program } = this.#setup
    return this.#hello?.version === 1 ? this.#hello.hooks : hooksOf(program.capabilities)
  }

  /** Null while it serves, or is about to. */
  get reason(): PluginError | null {
    return this.#reason
  }

  /** Whether it can take a call now. */
  get isFree(): boolean {
    // A second line that came with an answer would be taken for that to the next call.
    if (this.#hello?.version === 0 && this.#output.isReading) return false
    const most = this.#hello?.version === 1 ? this.#hello.concurrency : 1
    return (
      this.#reason === null &&
      !this.#hasExited &&
      this.#hello !== null &&
      this.#sent.size < most &&
      this.#input.unread < MAX_UNREAD_BYTES &&
      !this.#isOverdue()
    )
  }

  /** Calls that were sent and not answered. */
  get load(): number {
    return this.#sent.size
  }

  /** Whether it ever had a call besides that of its start. */
  get used(): boolean {
    return this.#used
  }

  /** The end of what it wrote to standard error. */
  get said(): string {
    return this.#errors.tail
  }

  /** Of everything in it, milliseconds; goes on to tell the last that was known. */
  get cpuMs(): number {
    if (this.#reason === null) this.#usedMs = Math.max(this.#usedMs, this.#jail.cpuMs())
    return this.#usedMs
  }

  get memoryBytes(): number {
    return this.#reason === null ? this.#jail.memoryBytes() : 0
  }

  /** Resolves when nothing of it is left. Never rejects. */
  get ended(): Promise<void> {
    return this.#ended
  }

  /**
   * Greets the program.
   * @param asks - Whether to say hello; a program that is known to be silent is taken for version 0.
   * @throws {PluginError} `E_PLUGIN_LOAD_FAILED`, `E_LIMIT_…`, `E_GUEST_PROTOCOL`. `silent` when it had nothing to say.
   */
  async greet(asks: boolean): Promise<"ready" | "silent"> {
    if (!asks) {
      this.#hello = { version: 0 }
      return "ready"
    }
    const call = new JailCall(HELLO, performance.now())
    const taken = new Promise<void>((resolve) => {
      this.#helloTaken = resolve
    })
    let isSilent = false
    watchCall(call, (code, what) => {
      isSilent = this.cpuMs < IDLE_CPU_MS
      this.stop(this.#error(code, what), call)
    })
    const { name, services, limits } = this.#setup
    this.#post(HELLO_ID, call, helloLine(name, services.config, limits))
    try {
      await Promise.race([call.outcome, taken])
      call.succeed(undefined)
      return "ready"
    } catch (error) {
      if (isSilent) return "silent"
      throw error
    }
  }

  /** Sends a call; its outcome is in the call. It must be free. */
  send(call: JailCall): void {
    const { request } = call
    const { name, services, limits } = this.#setup
    this.#used ||= request.hook !== "on_server_start"
    const isNamed = this.#hello?.version === 1
    const id = ++this.#lastId
    let line: string
    try {
      line = toCallLine(name, request, isNamed ? id : null, services, limits)
    } catch (error) {
      call.fail(error)
      return
    }
    if (isNamed) this.#tellLeader(request.leader)
    this.#post(id, call, line)
  }

  /** Nobody waits for this call any more. It must have been sent. */
  cancel(call: JailCall, error: PluginError): void {
    const [id] = [...this.#sent].find(([, sent]) => sent === call) ?? []
    if (id === undefined || call.done) return
    if (this.#hello?.version === 1) this.#write(toLine({ method: "cancel", params: { id } }))
    else if (call.isLate(performance.now())) {
      // What comes later could be taken for another answer.
      if (isOptional(call.request.hook)) call.succeed(undefined)
      this.stop(error, call)
      return
    }
    call.fail(error)
    this.#letGo(call)
  }

  /** The program has the time of the call, and a little more, to answer what nobody waits for. */
  #letGo(call: JailCall): void {
    const leftMs = Math.max(call.wallEndMs - performance.now(), 0)
    const moreMs = this.#hello?.version === 1 ? LET_GO_MS : 0
    const over = () => {
      const { hook } = call.request
      this.stop(
        this.#error("E_LIMIT_TIME", `it did not answer a cancelled ${hook} within ${moreMs} ms of its time`),
        call,
      )
    }
    this.#cancelled.set(call, setTimeout(over, leftMs + moreMs))
  }

  /** Whether it is late with a call: what it gets now would only wait behind that. */
  #isOverdue(): boolean {
    if (this.#cancelled.size === 0) return false
    const nowMs = performance.now()
    return [...this.#cancelled.keys()].some((call) => call.isLate(nowMs))
  }

  /**
   * Ends it at once, with all it started. The first reason counts.
   * @param culprit - The call that fails for that reason; otherwise the oldest. The others are lost with it.
   */
  stop(reason: PluginError, culprit?: JailCall): void {
    this.#over(reason, culprit)
    this.#jail.kill()
  }

  /** Ends it as `stop`, after a time in which it may end by itself. */
  async dismiss(reason: PluginError): Promise<void> {
    if (this.#reason === null) {
      this.#over(reason)
    }
    this.#input.end()
    const timer = setTimeout(() => this.#jail.kill(), FAREWELL_MS)
    await this.#ended
    clearTimeout(timer)
  }

  // --- Lines

  #post(id: number, call: JailCall, line: string): void {
    const nowMs = performance.now()
    call.sentMs = nowMs
    this.#sent.set(id, call)
    this.#write(line)
    this.#cpu.watch(nowMs)
  }

  #write(line: string): void {
    if (this.#reason === null) this.#input.write(line)
  }

  /** What it does not read piles up here, so what it asks for must not. */
  #written(): void {
    if (this.#input.unread >= MAX_UNREAD_BYTES) this.#output.hold()
    else this.#output.release()
    if (this.isFree) this.onChange?.()
  }

  #tellLeader(isLeader: boolean): void {
    if (isLeader === this.#isLeader) return
    this.#isLeader = isLeader
    this.#write(toLine({ method: "leader", params: isLeader }))
  }

  /** @returns whether somebody had asked for it. */
  #take(line: Buffer): boolean {
    if (this.#reason !== null) return false
    if (this.#hello === null) return this.#takeHello(line)
    if (this.#hello.version === 0) return this.#takeAnswer0(parseAnswer0(line))
    const message = parseLine(line)
    if ("answer" in message) return this.#takeAnswer(message.answer)
    this.#calls.serve(message.call)
    if (this.#input.unread >= MAX_UNREAD_BYTES) this.#output.hold()
    return false
  }

  /** In version 0, no call is sent while there are lines to read. */
  #hasRead(): void {
    if (this.#hello?.version === 0 && this.isFree) this.onChange?.()
  }

  #takeHello(line: Buffer): boolean {
    const answer = isBlank(line) ? parseAnswer0(line) : undefined
    const message = answer === undefined ? parseLine(line) : { answer }
    if ("call" in message) {
      this.#calls.serve(message.call)
      return false
    }
    const hello = readHello(this.#setup.name, message.answer)
    if (this.#helloTaken === null) throw new ProtocolFault("it wrote a line before it was asked")
    this.#sent.delete(HELLO_ID)
    this.#hello = hello
    this.#helloTaken()
    return true
  }

  #takeAnswer(answer: Answer): boolean {
    const { id } = answer
    if (id === null || id > this.#lastId || id < HELLO_ID) {
      throw new ProtocolFault(`it answered a call that there is not, ${id === null ? "without id" : `id ${id}`}`)
    }
    const call = this.#sent.get(id)
    // Late, or for the second time: whoever asked has got an answer.
    if (call === undefined) return false
    this.#answer(id, call, answer)
    return true
  }

  #takeAnswer0(answer: Answer): boolean {
    const [only] = this.#sent
    if (only === undefined) throw new ProtocolFault("it wrote a line that is no answer to anything")
    this.#answer(only[0], only[1], answer)
    return true
  }

  #answer(id: number, call: JailCall, answer: Answer): void {
    this.#sent.delete(id)
    if (call.done) {
      clearTimeout(this.#cancelled.get(call))
      this.#cancelled.delete(call)
    } else {
      try {
        const { name, limits } = this.#setup
        const { request, written, refused } = call
        call.succeed(
          applyAnswer(name, request, answer, written?.bytes ?? null, refused ?? NOTHING, limits.messageBytes),
        )
      } catch (error) {
        call.fail(error)
      }
    }
    this.onChange?.()
  }

  // --- The end

  /** Without its output it is of no use. When it is ending, that says more. */
  #hasSaidAll(): void {
    const closed = () => this.#fault(new ProtocolFault("it closed its standard output"))
    setTimeout(closed, LAST_WORDS_MS).unref()
  }

  async #whenEnded(): Promise<void> {
    const exit = await this.#jail.exited
    this.#hasExited = true
    // Not before: with its input closed a program still has a while, and could write as if nobody counted.
    this.#output.drain()
    this.#errors.end()
    await Promise.race([Promise.all([this.#output.ended, this.#errors.ended]), delay(LAST_WORDS_MS)])
    this.#over(exitError(this.#setup.name, exit))
  }

  #fault(error: unknown): void {
    if (this.#reason !== null) return
    if (error instanceof PluginError) this.stop(error)
    else if (error instanceof ProtocolFault) this.stop(this.#error("E_GUEST_PROTOCOL", error.message))
    else this.stop(this.#error("E_INTERNAL", "its output could not be handled", error))
  }

  #over(reason: PluginError, culprit?: JailCall): void {
    if (this.#reason !== null) return
    this.#usedMs = this.cpuMs
    this.#reason = reason
    this.#cpu.end()
    for (const timer of this.#cancelled.values()) clearTimeout(timer)
    this.#cancelled.clear()
    const lost = this.#error("E_INSTANCE_RESET", `its process ended in another call (${reason.code})`)
    const calls = [...this.#sent.values()].filter(({ done }) => !done)
    const [first = calls[0]] = culprit === undefined ? [] : [culprit]
    this.#sent.clear()
    for (const call of calls) call.fail(call === first || isEnd(reason) ? reason : lost)
    first?.fail(reason)
    this.#calls.end()
    this.onChange?.()
  }

  #outOfCpu({ request: { hook, limits } }: JailCall): PluginError {
    return this.#error("E_LIMIT_CPU", `${hook} used its ${limits.cpuMs} ms of CPU`)
  }

  #error(code: ErrorCode, what: string, cause?: unknown): PluginError {
    return new PluginError(code, this.#setup.name, what, { cause })
  }
}

/** The plugin is unloaded: nobody is to blame. */
function isEnd({ code }: PluginError): boolean {
  return code === "E_GUEST_EXITED"
}

/** No answer is as good as one. */
function isOptional(hook: HookName): boolean {
  return HOOKS[hook].capability === "lifecycle"
}

/** An answer of version 0 that says nothing. */
function isBlank(line: Buffer): boolean {
  return line.every((byte) => byte === 0x20 || byte === 0x09 || byte === 0x0d)
}
