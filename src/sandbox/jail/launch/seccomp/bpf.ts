/**
 * Classic BPF as seccomp runs it. A program is a list of instructions that only jump forward, so two programs in a row are a
 * program again and nothing here needs addresses.
 * Source: Linux, Documentation/networking/filter.rst (instruction set), include/uapi/linux/bpf_common.h (codes),
 * Documentation/userspace-api/seccomp_filter.rst.
 */
export interface Instruction {
  readonly code: number
  /** Instructions to skip when the condition holds, and when it does not. One byte each. */
  readonly jumpTrue: number
  readonly jumpFalse: number
  readonly operand: number
}

export type Program = readonly Instruction[]

// Class | size | mode, or class | operation | source: the constants of bpf_common.h added up.
const LOAD_WORD = 0x00 | 0x00 | 0x20 // BPF_LD | BPF_W | BPF_ABS
const AND = 0x04 | 0x50 | 0x00 // BPF_ALU | BPF_AND | BPF_K
const JUMP = 0x05 | 0x00 // BPF_JMP | BPF_JA
const RETURN = 0x06 | 0x00 // BPF_RET | BPF_K

/** BPF_JMP | operation | BPF_K: unsigned comparison of the accumulator with the operand. */
const CONDITIONS = { "==": 0x05 | 0x10, ">=": 0x05 | 0x30, "&": 0x05 | 0x40 } as const

/** Largest program the kernel takes. Source: include/uapi/linux/bpf_common.h (`BPF_MAXINSNS`). */
const MAX_INSTRUCTIONS = 4096
const INSTRUCTION_BYTES = 8

/** The 32 bits at this offset of `struct seccomp_data` become the accumulator. */
export function load(offset: number): Program {
  return [plain(LOAD_WORD, offset)]
}

export function and(mask: number): Program {
  return [plain(AND, mask)]
}

/** Ends the program with this answer (`SECCOMP_RET_…`). */
export function answer(value: number): Program {
  return [plain(RETURN, value)]
}

/** Compares the accumulator. Both branches have to end in an answer. */
export function branch(
  condition: keyof typeof CONDITIONS,
  operand: number,
  whenTrue: Program,
  whenFalse: Program,
): Program {
  const code = CONDITIONS[condition]
  if (whenFalse.length <= 0xff) {
    return [{ code, jumpTrue: whenFalse.length, jumpFalse: 0, operand }, ...whenFalse, ...whenTrue]
  }
  // Conditional jumps have one byte for the distance, the unconditional one has four.
  const far = plain(JUMP, whenFalse.length)
  return [{ code, jumpTrue: 0, jumpFalse: 1, operand }, far, ...whenFalse, ...whenTrue]
}

/**
 * `struct sock_filter[]`, little endian.
 * Source: include/uapi/linux/filter.h (u16 code, u8 jt, u8 jf, u32 k).
 */
export function encode(program: Program): Uint8Array {
  if (program.length > MAX_INSTRUCTIONS) throw new RangeError(`the filter has ${program.length} instructions`)
  const bytes = new Uint8Array(program.length * INSTRUCTION_BYTES)
  const view = new DataView(bytes.buffer)
  program.forEach(({ code, jumpTrue, jumpFalse, operand }, index) => {
    const at = index * INSTRUCTION_BYTES
    view.setUint16(at, code, true)
    view.setUint8(at + 2, jumpTrue)
    view.setUint8(at + 3, jumpFalse)
    view.setUint32(at + 4, operand, true)
  })
  return bytes
}

function plain(code: number, operand: number): Instruction {
  return { code, jumpTrue: 0, jumpFalse: 0, operand }
}
