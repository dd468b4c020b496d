// Makes system calls by number and says what came of each.
//   probe-calls NUMBER[,ARGUMENT…] …    one line each: 0, or the errno
//   probe-calls int80 | x32             one call by another ABI; a line only if it came back
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static int by_another_abi(const char *abi) {
#ifdef __x86_64__
  if (strcmp(abi, "int80") == 0) {
    long result;
    // getpid of the 32 bit ABI.
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(20) : "memory");
    printf("%ld\n", result);
    return 1;
  }
  if (strcmp(abi, "x32") == 0) {
    // getpid with the bit of that ABI.
    long result = syscall(0x40000000 + 39);
    printf("%ld\n", result < 0 ? (long)-errno : result);
    return 1;
  }
#endif
  return 0;
}

int main(int count, char **orders) {
  setvbuf(stdout, NULL, _IOLBF, 0);
  if (count == 2 && by_another_abi(orders[1])) return 0;
  for (int at = 1; at < count; at++) {
    long values[7] = {0};
    char *rest = orders[at];
    for (int index = 0; index < 7 && *rest != 0; index++) {
      values[index] = (long)strtoul(rest, &rest, 0);
      if (*rest == ',') rest++;
    }
    pid_t self = getpid();
    errno = 0;
    long result = syscall(values[0], values[1], values[2], values[3], values[4], values[5], values[6]);
    // A call that made a process returns in that one too.
    if (getpid() != self) _exit(0);
    printf("%d\n", result == -1 ? errno : 0);
  }
  return 0;
}
