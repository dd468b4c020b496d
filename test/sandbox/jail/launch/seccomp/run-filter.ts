/** What `struct seccomp_data` says of a call. */
export interface SystemCall {
  readonly number: number
  /** `AUDIT_ARCH_…` */
  readonly architecture: number
  /** 64 bit each; those not given are 0. */
  readonly arguments?: readonly bigint[]
}

/** A filter that was checked as the kernel checks one, and can be asked. */
export type Filter = (call: SystemCall) => number

/**
 * A second reading of classic BPF, for tests: the opcodes are written out, so that a wrong constant of the generator is found.
 * @throws {Error} For what the kernel would not take. Source: Linux, kernel/seccomp.c (`seccomp_check_filter`), net/core/filter.c
 * (`bpf_check_classic`).
 */
export function toFilter(bytes: Uint8Array): Filter {
  const instructions = decode(bytes)
  check(instructions)
  return (call) => run(instructions, toData(call))
}

interface Decoded {
  readonly code: number
  readonly jt: number
  readonly jf: number
  readonly k: number
}

function decode(bytes: Uint8Array): readonly Decoded[] {
  if (bytes.length % 8 !== 0) throw new Error(`${bytes.length} bytes are no whole instructions`)
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  return Array.from({ length: bytes.length / 8 }, (_, index) => ({
    code: view.getUint16(index * 8, true),
    jt: view.getUint8(index * 8 + 2),
    jf: view.getUint8(index * 8 + 3),
    k: view.getUint32(index * 8 + 4, true),
  }))
}

function check(program: readonly Decoded[]): void {
  if (program.length === 0 || program.length > 4096) throw new Error(`${program.length} instructions`)
  program.forEach(({ code, jt, jf, k }, index) => {
    const left = program.length - index - 1
    if (code === 0x20 && (k >= 64 || k % 4 !== 0)) throw new Error(`${index}: load at ${k}`)
    if (code === 0x05 && k >= left) throw new Error(`${index}: jump behind the end`)
    if ([0x15, 0x35, 0x45].includes(code) && (jt >= left || jf >= left))
      throw new Error(`${index}: branch behind the end`)
    if (![0x20, 0x54, 0x05, 0x15, 0x35, 0x45, 0x06].includes(code)) throw new Error(`${index}: code ${code}`)
  })
  if (program.at(-1)!.code !== 0x06) throw new Error("the last instruction is no return")
}

function toData(call: SystemCall): DataView {
  const data = new DataView(new ArrayBuffer(64))
  data.setUint32(0, call.number, true)
  data.setUint32(4, call.architecture, true)
  data.setBigUint64(8, 0x7f00_1234_5678_9abcn, true)
  for (const [index, value] of (call.arguments ?? []).entries()) data.setBigUint64(16 + 8 * index, value, true)
  return data
}

function run(program: readonly Decoded[], data: DataView): number {
  let accumulator = 0
  for (let at = 0; ; at++) {
    const { code, jt, jf, k } = program[at]!
    if (code === 0x20) accumulator = data.getUint32(k, true)
    else if (code === 0x54) accumulator = (accumulator & k) >>> 0
    else if (code === 0x05) at += k
    else if (code === 0x15) at += accumulator === k ? jt : jf
    else if (code === 0x35) at += accumulator >= k ? jt : jf
    else if (code === 0x45) at += (accumulator & k) !== 0 ? jt : jf
    else return k
  }
}
