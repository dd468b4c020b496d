/** What a filter can answer. Source: Linux, include/uapi/linux/seccomp.h; seccomp(2). */
export const ALLOW = 0x7fff0000
/** SIGSYS for the whole process, in a way it cannot handle. Since Linux 4.14. */
export const KILL_PROCESS = 0x80000000

/** Source: include/uapi/asm-generic/errno-base.h and errno.h. */
export const EPERM = 1
export const EINVAL = 22
export const ENOSYS = 38
export const EPROTONOSUPPORT = 93
export const EAFNOSUPPORT = 97

/** The call is not made and returns this error. */
export function errno(number: number): number {
  return 0x00050000 | number
}
