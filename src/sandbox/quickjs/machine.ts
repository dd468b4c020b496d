import { EXPORT_NAMES, LAYOUT, type MeteredEngine } from "./binary.ts"

/** The functions of the engine that are used, all arguments and results being numbers (pointers into its memory). */
export type EngineFunctions = { readonly [name in keyof typeof EXPORT_NAMES]: (...args: number[]) => number }

/** What the guest's engine calls back. Set while a guest runs in the machine. */
export interface MachineHost {
  /** A guest called the host function. @returns a pointer to a new value, or 0 for undefined. */
  callFunction(argv: number): number
  /** Polled by the interpreter. Never returns when the guest has to stop. */
  interrupt(): void
  /** Asked by native code when its fuel is used up. @returns true when the guest has to stop. */
  spent(): boolean
  /** @returns the plugin-relative name of the module, or null after the error was thrown in the guest. */
  resolveModule(importer: string, specifier: string): string | null
  /** @returns the module's JavaScript, or null after the error was thrown in the guest. */
  loadModule(name: string): string | null
}

/** Who is asked before a machine grows. */
export interface MachineGrowth {
  /** @returns false when it may not. */
  grow(pages: number): boolean
  /** It did not after all. */
  shrink(pages: number): void
}

/** One linear memory with an instance of the engine. Whose guest lives in it is decided by the image written into it. */
export class Machine {
  readonly memory: WebAssembly.Memory
  readonly maxPages: number
  readonly engine: EngineFunctions
  /** Views of the whole memory, renewed when it grows. */
  bytes: Buffer
  i32: Int32Array
  u32: Uint32Array
  host: MachineHost | null = null
  /** Whether the guest was refused memory that its own limit allows. */
  refused = false

  readonly #growth: MachineGrowth | null
  readonly #fuel: WebAssembly.Global
  readonly #stackPointer: WebAssembly.Global

  /** @param growth - Null: it may grow to `maxPages`. */
  constructor(module: MeteredEngine, maxPages: number, growth: MachineGrowth | null) {
    this.maxPages = maxPages
    this.#growth = growth
    this.memory = new WebAssembly.Memory({ initial: LAYOUT.initialPages, maximum: maxPages })
    this.bytes = Buffer.from(this.memory.buffer)
    this.i32 = new Int32Array(this.memory.buffer)
    this.u32 = new Uint32Array(this.memory.buffer)
    const { refill, fuelExport, stackPointerExport } = module
    const { exports } = new WebAssembly.Instance(module.compiled, {
      a: this.#imports(),
      [refill.module]: { [refill.name]: () => (this.host?.spent() ? 0 : FUEL_SLICE) },
    })
    this.#fuel = exports[fuelExport] as WebAssembly.Global
    this.#stackPointer = exports[stackPointerExport] as WebAssembly.Global
    this.engine = Object.fromEntries(
      Object.entries(EXPORT_NAMES).map(([name, minified]) => [name, exports[minified]]),
    ) as EngineFunctions
  }

  /** Size, in pages of 64 KiB. */
  get pages(): number {
    return this.bytes.length / 65_536
  }

  /** Nothing is on the stack any more and the fuel is full, also after the guest was stopped in the middle. */
  unwind(): void {
    this.#stackPointer.value = LAYOUT.heapStart
    this.#fuel.value = FUEL_SLICE
  }

  /**
   * End of the heap in use, bytes from 0. Never moves back except by writing an image. The guest's memory says so, and a
   * guest that broke out of the engine could say anything.
   */
  get heapEnd(): number {
    return Math.min(this.u32[LAYOUT.heapEndPointer >> 2]!, this.bytes.length)
  }

  /** Makes the memory at least this large. @throws {OutOfMemory} */
  reserve(end: number): void {
    if (end > this.bytes.length && this.#growTo(end) === 0) throw new OutOfMemory()
  }

  /** Copies text into new memory of the guest, NUL at the end; the receiver frees it. */
  newCString(text: string): number {
    const size = Buffer.byteLength(text)
    const at = this.allocate(size + 1)
    this.bytes.write(text, at, size, "utf8")
    this.bytes[at + size] = 0
    return at
  }

  /** @throws {OutOfMemory} */
  allocate(size: number): number {
    const at = this.engine.malloc(size)
    if (at === 0) throw new OutOfMemory()
    return at
  }

  #cString(at: number): string {
    return this.bytes.toString("utf8", at, this.bytes.indexOf(0, at))
  }

  /** The engine's imports by their minified names. Clocks are UTC; there is no environment and no file. */
  #imports(): Record<string, unknown> {
    const abort = (what: string) => () => {
      throw new EngineAbort(what)
    }
    return {
      a: this.memory,
      b: abort("assertion failed"),
      c: () => NOT_SUPPORTED, // fd_write
      d: () => NOT_SUPPORTED, // fd_close
      e: () => 0, // environ_get
      f: (count: number, size: number) => {
        this.u32[count >> 2] = 0
        this.u32[size >> 2] = 0
        return 0
      },
      g: (_runtime: number, _context: number, importer: number, specifier: number) => {
        const name = this.host?.resolveModule(this.#cString(importer), this.#cString(specifier)) ?? null
        return name === null ? 0 : this.newCString(name)
      },
      h: (_runtime: number, _context: number, name: number) => {
        const source = this.host?.loadModule(this.#cString(name)) ?? null
        return source === null ? 0 : this.newCString(source)
      },
      i: () => {
        this.host?.interrupt()
        return 0
      },
      j: () => 0, // setitimer
      k: (size: number) => this.#growTo(size >>> 0),
      l: () => {}, // runtime_keepalive_clear
      m: (seconds: bigint, result: number) => this.#writeTime(Number(seconds), result),
      n: (zone: number, daylight: number) => {
        this.i32[zone >> 2] = 0
        this.i32[daylight >> 2] = 0
      },
      o: () => NOT_SUPPORTED, // fd_seek
      p: () => Date.now(),
      q: abort("abort"),
      r: abort("exit"),
      s: (_context: number, _self: number, _count: number, argv: number) => this.host?.callFunction(argv) ?? 0,
      t: () => {}, // free_host_ref
    }
  }

  #growTo(size: number): number {
    const missing = Math.ceil((size - this.bytes.length) / 65_536)
    const left = this.maxPages - this.pages
    if (missing > left) return 0
    // A little more than asked, so that a growing heap does not come here for every page.
    const more = Math.min(left, Math.max(missing, 16))
    if (this.#growth?.grow(more) === false) {
      this.refused = true
      return 0
    }
    try {
      this.memory.grow(more)
    } catch {
      this.#growth?.shrink(more)
      return 0 // the system has no more
    }
    this.bytes = Buffer.from(this.memory.buffer)
    this.i32 = new Int32Array(this.memory.buffer)
    this.u32 = new Uint32Array(this.memory.buffer)
    return 1
  }

  /** Fills a C `struct tm` in UTC. */
  #writeTime(seconds: number, at: number): void {
    const date = new Date(seconds * 1000)
    const yearStart = Date.UTC(date.getUTCFullYear(), 0, 1)
    const fields = [
      date.getUTCSeconds(),
      date.getUTCMinutes(),
      date.getUTCHours(),
      date.getUTCDate(),
      date.getUTCMonth(),
      date.getUTCFullYear() - 1900,
      date.getUTCDay(),
      Math.floor((date.getTime() - yearStart) / 86_400_000),
      0, // daylight saving
      0, // offset from UTC
    ]
    this.i32.set(fields, at >> 2)
  }
}

/** The machine's memory is used up. Leaves the wasm frames below it without running them: the guest must be reset. */
export class OutOfMemory extends Error {}

/** The engine gave up (failed assertion, abort, exit). The guest must be reset. */
export class EngineAbort extends Error {}

/** errno ENOSYS of WASI. */
const NOT_SUPPORTED = 52

/** Fuel between two looks at the clock: 10 to 50 µs of native code. */
const FUEL_SLICE = 100_000
