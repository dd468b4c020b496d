import { ALLOW, EAFNOSUPPORT, EINVAL, EPERM, EPROTONOSUPPORT, errno } from "./answers.ts"
import { and, answer, branch, load, type Program } from "./bpf.ts"

/** Each is the name of the call that it decides. */
export type ArgumentFilter =
  | ("clone" | "socket" | "socketpair" | "ioctl" | "prctl")
  | ("open" | "openat" | "creat")
  | ("chmod" | "fchmod" | "fchmodat" | "fchmodat2")
  | ("mknod" | "mknodat")
  | ("mmap" | "memfd_create" | "shmget")

const allow = answer(ALLOW)
const refuse = answer(errno(EPERM))

/**
 * Only low words are compared: the kernel takes each of these arguments as 32 bits or fewer, so what stands in the high word must
 * not hide a call.
 */
export function argumentFilter(name: ArgumentFilter): Program {
  return FILTERS[name]()
}

const FILTERS: Readonly<Record<ArgumentFilter, () => Program>> = {
  clone: () => [...argument(0), ...branch("&", CLONE_NEW_ANY, refuse, allow)],
  socket: () => [
    ...argument(0),
    ...whenOneOf([AF_UNIX], allow, whenOneOf([AF_INET, AF_INET6], internetSocket(), answer(errno(EAFNOSUPPORT)))),
  ],
  socketpair: () => [...argument(0), ...whenOneOf([AF_UNIX], allow, answer(errno(EAFNOSUPPORT)))],
  ioctl: () => [...argument(1), ...whenOneOf([TIOCSTI, TIOCLINUX, TIOCSETD], refuse, allow)],
  prctl: () => [...argument(0), ...whenOneOf([PR_SET_MM, PR_SCHED_CORE], refuse, allow)],
  open: () => [...argument(1), ...branch("&", CREATES, [...argument(2), ...noSetId()], allow)],
  openat: () => [...argument(2), ...branch("&", CREATES, [...argument(3), ...noSetId()], allow)],
  creat: () => [...argument(1), ...noSetId()],
  chmod: () => [...argument(1), ...noSetId()],
  fchmod: () => [...argument(1), ...noSetId()],
  fchmodat: () => [...argument(2), ...noSetId()],
  fchmodat2: () => [...argument(2), ...noSetId()],
  mknod: () => [...argument(1), ...noSetId(noDevices())],
  mknodat: () => [...argument(2), ...noSetId(noDevices())],
  mmap: () => [...argument(3), ...noHugePages(MAP_HUGETLB)],
  memfd_create: () => [...argument(1), ...noHugePages(MFD_HUGETLB)],
  shmget: () => [...argument(2), ...noHugePages(SHM_HUGETLB)],
}

/**
 * New namespaces of every kind: NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET. CLONE_NEWTIME (0x80) is no flag of
 * clone, where these bits are the signal at exit; only unshare and clone3 take it. Source: include/uapi/linux/sched.h; clone(2).
 */
const CLONE_NEW_ANY = 0x00020000 | 0x02000000 | 0x04000000 | 0x08000000 | 0x10000000 | 0x20000000 | 0x40000000

/** Source: include/linux/socket.h. */
const AF_UNIX = 1
const AF_INET = 2
const AF_INET6 = 10

/** Source: include/linux/net.h. The bits above are SOCK_CLOEXEC and SOCK_NONBLOCK. */
const SOCK_TYPE_MASK = 0xf
const SOCK_STREAM = 1
const SOCK_DGRAM = 2

/** Not said, ICMP, TCP, UDP, ICMPv6. Source: IANA, Assigned Internet Protocol Numbers. */
const PROTOCOLS = [0, 1, 6, 17, 58]

/**
 * TIOCSTI types into a terminal, TIOCLINUX pastes into a console, TIOCSETD puts another line discipline onto a terminal, which
 * loads its module. Source: include/uapi/asm-generic/ioctls.h; ioctl_tty(2).
 */
const TIOCSTI = 0x5412
const TIOCLINUX = 0x541c
const TIOCSETD = 0x5423

/** Its own memory map, as a checkpoint is restored. Source: include/uapi/linux/prctl.h. */
const PR_SET_MM = 35
/** Sharing a core with nobody else: its other thread would stand idle, which no share of CPU counts. Source: the same. */
const PR_SCHED_CORE = 62

/** O_CREAT, __O_TMPFILE. Without either, nobody looks at the mode, and C libraries leave there what was. Source: asm-generic/fcntl.h. */
const CREATES = 0x40 | 0x400000

/** S_ISUID, S_ISGID. Source: include/uapi/linux/stat.h. */
const SET_ID = 0o4000 | 0o2000

/** Source: include/uapi/linux/stat.h. */
const S_IFMT = 0xf000
const S_IFIFO = 0x1000
const S_IFREG = 0x8000
const S_IFSOCK = 0xc000

/** Source: include/uapi/asm-generic/mman-common.h, include/uapi/linux/memfd.h, shm.h. */
const MAP_HUGETLB = 0x40000
const MFD_HUGETLB = 0x4
const SHM_HUGETLB = 0x800

/** TCP, UDP and echo requests. Any other type or protocol has the kernel look for a module (SCTP, DCCP, L2TP) to load. */
function internetSocket(): Program {
  const unsupported = answer(errno(EPROTONOSUPPORT))
  const protocol = [...argument(2), ...whenOneOf(PROTOCOLS, allow, unsupported)]
  return [...argument(1), ...and(SOCK_TYPE_MASK), ...whenOneOf([SOCK_STREAM, SOCK_DGRAM], protocol, unsupported)]
}

/** No type at all means a plain file. */
function noDevices(): Program {
  return [...and(S_IFMT), ...whenOneOf([0, S_IFREG, S_IFIFO, S_IFSOCK], allow, refuse)]
}

/**
 * No file may run as whoever owns it: below /data, others of the machine may get to it, and there its owner is not the plugin but
 * the user that all programs run as, or bext's own.
 */
function noSetId(otherwise = allow): Program {
  return branch("&", SET_ID, refuse, otherwise)
}

/** EINVAL, as from a kernel without huge pages. */
function noHugePages(flag: number): Program {
  return branch("&", flag, answer(errno(EINVAL)), allow)
}

function whenOneOf(values: readonly number[], then: Program, otherwise: Program): Program {
  return values.reduceRight((rest, value) => branch("==", value, then, rest), otherwise)
}

/** Low word of an argument in `struct seccomp_data`: u32 nr, u32 arch, u64 instruction_pointer, u64 args[6]; little endian. */
function argument(index: number): Program {
  return load(16 + 8 * index)
}
