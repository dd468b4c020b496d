import type { Guest, GuestMemory, ImportedFunction } from "../abi.ts"
import { ERRNO } from "./errno.ts"
import { OutputLines } from "./output-lines.ts"

const STDIN = 0
const STDOUT = 1
const STDERR = 2

/** Bytes one `fd_write` takes; the guest's library writes the rest with the next. */
const MAX_WRITE_BYTES = 64 * 1024
/** Buffers of one `fd_write`. Source: POSIX `writev`, EINVAL over IOV_MAX. */
const MAX_BUFFERS = 1024

/** What a line of the log costs the host, in units of fuel. */
const LINE_UNITS = 10_000

const RIGHT_READ = 1n << 1n
const RIGHT_WRITE = 1n << 6n
const RIGHT_POLL = 1n << 27n
const CHARACTER_DEVICE = 2
/** `append` and `nonblock`: what standard output is anyway. */
const TRUE_FLAGS = 1 | 4

/**
 * Functions of descriptors that do nothing here: where the descriptor is among the parameters, and what is said of 0, 1
 * and 2. No other descriptor is ever open.
 */
const REFUSALS: readonly (readonly [name: string, descriptorAt: number, standard: number])[] = [
  ["fd_advise", 0, ERRNO.SPIPE],
  ["fd_allocate", 0, ERRNO.SPIPE],
  ["fd_datasync", 0, ERRNO.INVAL],
  ["fd_fdstat_set_rights", 0, ERRNO.NOTSUP],
  ["fd_filestat_set_size", 0, ERRNO.INVAL],
  ["fd_filestat_set_times", 0, ERRNO.NOTSUP],
  ["fd_pread", 0, ERRNO.SPIPE],
  ["fd_prestat_dir_name", 0, ERRNO.BADF],
  ["fd_prestat_get", 0, ERRNO.BADF],
  ["fd_pwrite", 0, ERRNO.SPIPE],
  ["fd_readdir", 0, ERRNO.NOTDIR],
  ["fd_renumber", 0, ERRNO.NOTSUP],
  ["fd_seek", 0, ERRNO.SPIPE],
  ["fd_sync", 0, ERRNO.INVAL],
  ["fd_tell", 0, ERRNO.SPIPE],
  ["path_create_directory", 0, ERRNO.NOTDIR],
  ["path_filestat_get", 0, ERRNO.NOTDIR],
  ["path_filestat_set_times", 0, ERRNO.NOTDIR],
  ["path_link", 0, ERRNO.NOTDIR],
  ["path_open", 0, ERRNO.NOTDIR],
  ["path_readlink", 0, ERRNO.NOTDIR],
  ["path_remove_directory", 0, ERRNO.NOTDIR],
  ["path_rename", 0, ERRNO.NOTDIR],
  ["path_symlink", 2, ERRNO.NOTDIR],
  ["path_unlink_file", 0, ERRNO.NOTDIR],
  ["sock_accept", 0, ERRNO.NOTSOCK],
  ["sock_recv", 0, ERRNO.NOTSOCK],
  ["sock_send", 0, ERRNO.NOTSOCK],
  ["sock_shutdown", 0, ERRNO.NOTSOCK],
]

/** Functions that take a descriptor: standard input, output and error are all there is. */
export function descriptorFunctions(guest: Guest): {
  functions: Record<string, ImportedFunction>
  over(): void
} {
  const output = new OutputLines((line) => logLine("info", line))
  const errors = new OutputLines((line) => logLine("warn", line))
  const functions: Record<string, ImportedFunction> = {
    fd_write(descriptor: number, buffers: number, count: number, written: number) {
      guest.charge(20)
      const lines = descriptor === STDOUT ? output : descriptor === STDERR ? errors : null
      if (lines === null) return ERRNO.BADF
      if (count >>> 0 > MAX_BUFFERS) return ERRNO.INVAL
      guest.memory.writeU32(written, writeAll(lines, buffers, count))
      return ERRNO.SUCCESS
    },
    fd_read(descriptor: number, _buffers: number, _count: number, read: number) {
      guest.charge(20)
      if (descriptor !== STDIN) return ERRNO.BADF
      guest.memory.writeU32(read, 0)
      return ERRNO.SUCCESS
    },
    fd_close(descriptor: number) {
      guest.charge(20)
      return isStandard(descriptor) ? ERRNO.SUCCESS : ERRNO.BADF
    },
    fd_fdstat_get(descriptor: number, out: number) {
      guest.charge(20)
      if (!isStandard(descriptor)) return ERRNO.BADF
      guest.memory.write(out, descriptor === STDIN ? INPUT_STATUS : OUTPUT_STATUS)
      return ERRNO.SUCCESS
    },
    fd_fdstat_set_flags(descriptor: number, flags: number) {
      guest.charge(20)
      if (!isStandard(descriptor)) return ERRNO.BADF
      return (flags & ~TRUE_FLAGS) === 0 ? ERRNO.SUCCESS : ERRNO.NOTSUP
    },
    fd_filestat_get(descriptor: number, out: number) {
      guest.charge(20)
      if (!isStandard(descriptor)) return ERRNO.BADF
      guest.memory.write(out, FILE_STATUS)
      return ERRNO.SUCCESS
    },
  }
  for (const [name, descriptorAt, standard] of REFUSALS) {
    functions[name] = (...parameters: readonly unknown[]) => {
      guest.charge(20)
      return isStandard(parameters[descriptorAt] as number) ? standard : ERRNO.BADF
    }
  }
  return {
    functions,
    over() {
      output.flush()
      errors.flush()
    },
  }

  function logLine(level: "info" | "warn", line: string): void {
    guest.services.log(level, line)
  }

  function writeAll(lines: OutputLines, buffers: number, count: number): number {
    const list = bufferList(guest.memory, buffers, count)
    let total = 0
    for (let i = 0; i < count && total < MAX_WRITE_BYTES; i++) {
      const length = Math.min(list.getUint32(8 * i + 4, true), MAX_WRITE_BYTES - total, guest.limits.messageBytes)
      const ended = lines.add(guest.memory.view(list.getUint32(8 * i, true), length))
      guest.charge(8 + length + LINE_UNITS * ended)
      total += length
    }
    return total
  }
}

function bufferList(memory: GuestMemory, address: number, count: number): DataView {
  const bytes = memory.view(address, 8 * count)
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

function isStandard(descriptor: number): boolean {
  return descriptor === STDIN || descriptor === STDOUT || descriptor === STDERR
}

const INPUT_STATUS = descriptorStatus(RIGHT_READ | RIGHT_POLL)
const OUTPUT_STATUS = descriptorStatus(RIGHT_WRITE | RIGHT_POLL)
const FILE_STATUS = fileStatus()

/**
 * `$fdstat`: type, flags, rights. A character device that cannot be sought is a terminal for C libraries, which then write
 * line by line; anything else would stay in a buffer that nothing flushes.
 */
function descriptorStatus(rights: bigint): Uint8Array {
  const status = new DataView(new ArrayBuffer(24))
  status.setUint8(0, CHARACTER_DEVICE)
  status.setBigUint64(8, rights, true)
  return new Uint8Array(status.buffer)
}

/** `$filestat`: everything but the type is 0. */
function fileStatus(): Uint8Array {
  const status = new Uint8Array(64)
  status[16] = CHARACTER_DEVICE
  return status
}
