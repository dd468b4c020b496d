import type { Guest } from "../../../../src/sandbox/wasm/abi.ts"
import { LinearMemory } from "../../../../src/sandbox/wasm/linear-memory.ts"
import { bindWasi, type Wasi } from "../../../../src/sandbox/wasm/wasi/bind-wasi.ts"
import { RecordingServices } from "../../../contracts/recording-services.ts"

/** The functions of one instance without a module: the test is the guest. */
export class WasiGuest {
  readonly services = new RecordingServices()
  readonly memory = new WebAssembly.Memory({ initial: 4 })
  readonly wasi: Wasi
  clockMs = 5000
  charged = 0

  constructor() {
    const self = this
    const outside = () => {
      throw new TypeError("WASI has nothing to do with the request")
    }
    // An instance has its memory only when it has been given its functions.
    let memory: LinearMemory
    this.wasi = bindWasi({
      name: "guest",
      services: this.services,
      limits: { memoryBytes: 4 * 65_536, messageBytes: 128 * 1024, maxInstances: 1 },
      get memory() {
        return memory
      },
      current: null,
      get call() {
        return outside()
      },
      get exchange() {
        return outside()
      },
      get storage() {
        return outside()
      },
      get clockMs() {
        return self.clockMs
      },
      charge(units: number) {
        self.charged += units
      },
      wait: outside,
    } satisfies Guest)
    memory = new LinearMemory("guest", this.memory, 128 * 1024)
  }

  call(name: string, ...parameters: readonly (number | bigint)[]): unknown {
    return (this.wasi.functions[name] as (...all: readonly (number | bigint)[]) => unknown)(...parameters)
  }

  get view(): DataView {
    return new DataView(this.memory.buffer)
  }

  /** Puts bytes into memory. */
  put(address: number, bytes: string | Uint8Array): void {
    new Uint8Array(this.memory.buffer).set(typeof bytes === "string" ? Buffer.from(bytes) : bytes, address)
  }

  /** Writes texts to a descriptor with one `fd_write`; its buffer list is at 16, the count of bytes comes to 8. */
  write(descriptor: number, ...texts: readonly (string | Uint8Array)[]): unknown {
    let at = 4096
    for (const [i, text] of texts.entries()) {
      const bytes = Buffer.from(text)
      this.put(at, bytes)
      this.view.setUint32(16 + 8 * i, at, true)
      this.view.setUint32(20 + 8 * i, bytes.length, true)
      at += bytes.length
    }
    return this.call("fd_write", descriptor, 16, texts.length, 8)
  }
}
