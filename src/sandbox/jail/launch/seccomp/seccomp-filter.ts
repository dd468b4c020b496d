import { ALLOW, ENOSYS, EPERM, errno, KILL_PROCESS } from "./answers.ts"
import { argumentFilter } from "./argument-filters.ts"
import { answer, branch, encode, load, type Program } from "./bpf.ts"
import { SYSTEM_CALLS, type Verdict } from "./system-calls.ts"

export type SeccompArchitecture = "x64" | "arm64"

/**
 * The filter of the jail, for `bwrap --seccomp FD`: an array of `struct sock_filter`, little endian. What it says of each call is
 * `SYSTEM_CALLS`; any other ABI than the architecture's own (32 bit, x32) ends the process.
 * @param architecture - As `process.arch` says it.
 * @throws {Error} For an architecture that the table has no numbers for.
 */
export function seccompFilter(architecture: string): Uint8Array {
  if (!isSupported(architecture)) {
    throw new Error(`there is no system call filter for ${architecture}: bext has one for x64 and arm64`)
  }
  const byNumber = decide(rangesOf(architecture))
  const native = architecture === "x64" ? branch(">=", X32_SYSCALL_BIT, answer(KILL_PROCESS), byNumber) : byNumber
  return encode([
    ...load(ARCHITECTURE_OFFSET),
    ...branch("==", AUDIT_ARCH[architecture], [...load(NUMBER_OFFSET), ...native], answer(KILL_PROCESS)),
  ])
}

/** Offsets in `struct seccomp_data`. Source: include/uapi/linux/seccomp.h. */
const NUMBER_OFFSET = 0
const ARCHITECTURE_OFFSET = 4

/** EM_X86_64 and EM_AARCH64, each 64 bit and little endian. Source: include/uapi/linux/audit.h, elf-em.h. */
const AUDIT_ARCH: Readonly<Record<SeccompArchitecture, number>> = { x64: 0xc000003e, arm64: 0xc00000b7 }

/** Source: arch/x86/include/uapi/asm/unistd.h. */
const X32_SYSCALL_BIT = 0x40000000

function isSupported(architecture: string): architecture is SeccompArchitecture {
  return Object.hasOwn(AUDIT_ARCH, architecture)
}

/** Calls from this number to the next range's share a verdict. */
interface Range {
  readonly from: number
  readonly verdict: Verdict
}

/** All numbers from 0, without gaps. */
function rangesOf(architecture: SeccompArchitecture): readonly Range[] {
  const verdicts = verdictsOf(architecture)
  const ranges: Range[] = []
  for (let number = 0; number <= Math.max(...verdicts.keys()) + 1; number++) {
    const verdict = verdicts.get(number) ?? "absent"
    if (ranges.at(-1)?.verdict !== verdict) ranges.push({ from: number, verdict })
  }
  return ranges
}

function verdictsOf(architecture: SeccompArchitecture): ReadonlyMap<number, Verdict> {
  const column = architecture === "x64" ? 0 : 1
  const verdicts = new Map<number, Verdict>()
  for (const { verdict, calls } of SYSTEM_CALLS) {
    for (const numbers of Object.values(calls)) {
      const number = numbers[column]
      if (number !== null) verdicts.set(number, verdict)
    }
  }
  return verdicts
}

/** Halves the ranges until one is left: eight comparisons for any call. */
function decide(ranges: readonly Range[]): Program {
  if (ranges.length === 1) return programOf(ranges[0]!.verdict)
  const middle = ranges.length >> 1
  return branch(">=", ranges[middle]!.from, decide(ranges.slice(middle)), decide(ranges.slice(0, middle)))
}

function programOf(verdict: Verdict): Program {
  if (verdict === "allow") return answer(ALLOW)
  if (verdict === "refuse") return answer(errno(EPERM))
  if (verdict === "absent") return answer(errno(ENOSYS))
  return argumentFilter(verdict)
}
