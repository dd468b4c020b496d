/*
 * What a hostile program tries, one thing a run: attacks NAME [ARGUMENT…]
 * It writes one line: "open WHAT" when it got what it wanted, "blocked ERRNO" when it did not, "seen WHAT" for what it only looks at.
 * Every bomb ends by itself at the size it is told.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define COUNT(list) (sizeof(list) / sizeof((list)[0]))

static char text[65536];

static void add(const char *part) {
  size_t used = strlen(text);
  snprintf(text + used, sizeof text - used, "%s%s", used ? " " : "", part);
}

static void tell(const char *outcome, const char *what) {
  printf("%s %s\n", outcome, what);
  fflush(stdout);
  _exit(0);
}

static void blocked(void) { tell("blocked", strerrorname_np(errno)); }

/* For calls that return -1 when they fail. */
static void result(long value) {
  if (value == -1) blocked();
  tell("open", "it worked");
}

/* For calls with arguments that make no sense: the kernel looking at them is as good as doing it. */
static void reached(long value) {
  if (value == -1 && (errno == EPERM || errno == EACCES || errno == ENOSYS)) blocked();
  tell("open", value == -1 ? strerrorname_np(errno) : "it worked");
}

static void told_bomb(long reached, long goal) {
  char what[64];
  if (reached >= goal) {
    snprintf(what, sizeof what, "%ld", reached);
    tell("open", what);
  }
  snprintf(what, sizeof what, "%s after %ld", strerrorname_np(errno), reached);
  tell("blocked", what);
}

static void pause_ms(long ms) {
  struct timespec time = {ms / 1000, ms % 1000 * 1000000};
  nanosleep(&time, NULL);
}

/* files */

static void read_file(char **arg) {
  char bytes[256];
  int fd = open(arg[0], O_RDONLY | O_NONBLOCK);
  if (fd < 0) blocked();
  ssize_t size = read(fd, bytes, sizeof bytes - 1);
  if (size < 0) blocked();
  bytes[size] = 0;
  for (char *at = bytes; *at; at++)
    if (*at < ' ') *at = ' ';
  tell("open", bytes);
}

static void write_file(char **arg) {
  int fd = open(arg[0], O_WRONLY | O_CREAT | O_APPEND, 0600);
  if (fd < 0 || write(fd, "x", 1) < 0) blocked();
  tell("open", arg[0]);
}

static void change_mode(char **arg) { result(chmod(arg[0], 0777)); }

static void list_folder(char **arg) {
  DIR *folder = opendir(arg[0]);
  if (folder == NULL) blocked();
  for (struct dirent *entry; (entry = readdir(folder)) != NULL;)
    if (entry->d_name[0] != '.') add(entry->d_name);
  tell("seen", text);
}

/* Folders in which a file can be made, of all there are. */
static void find_writable(char **arg) {
  (void)arg;
  static char folders[4096][256];
  size_t count = 1, at = 0;
  strcpy(folders[0], "/");
  for (; at < count; at++) {
    char path[512];
    snprintf(path, sizeof path, "%s/.attack", folders[at]);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
    if (fd >= 0) {
      close(fd);
      unlink(path);
      add(folders[at]);
    }
    DIR *folder = opendir(folders[at]);
    if (folder == NULL) continue;
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
      if (entry->d_type != DT_DIR || entry->d_name[0] == '.' || count == COUNT(folders)) continue;
      const char *parent = at == 0 ? "" : folders[at];
      if (at == 0 && (!strcmp(entry->d_name, "proc") || !strcmp(entry->d_name, "usr"))) continue;
      snprintf(folders[count], sizeof folders[count], "%s/%s", parent, entry->d_name);
      count++;
    }
    closedir(folder);
  }
  tell("seen", text);
}

static void find_settings_in(const char *path, int depth) {
  DIR *folder = opendir(path);
  if (folder == NULL) return;
  for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
    char below[512];
    if (entry->d_name[0] == '.') continue;
    snprintf(below, sizeof below, "%.250s/%.250s", path, entry->d_name);
    if (entry->d_type == DT_DIR && depth < 8) find_settings_in(below, depth + 1);
    if (entry->d_type != DT_REG) continue;
    int fd = open(below, O_WRONLY);
    if (fd < 0) continue;
    close(fd);
    add(below);
  }
  closedir(folder);
}

/* Those that can be opened for writing. */
static void find_settings(char **arg) {
  (void)arg;
  find_settings_in("/proc/sys", 0);
  if (*text) tell("open", text);
  errno = EACCES;
  blocked();
}

/* processes */

static void find_environment(char **arg) {
  DIR *folder = opendir("/proc");
  if (folder == NULL) blocked();
  errno = ENOENT;
  for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
    char path[300];
    static char bytes[1 << 17];
    if (entry->d_name[0] < '0' || entry->d_name[0] > '9') continue;
    snprintf(path, sizeof path, "/proc/%s/environ", entry->d_name);
    int fd = open(path, O_RDONLY);
    if (fd < 0) continue;
    ssize_t size = read(fd, bytes, sizeof bytes);
    close(fd);
    if (size > 0 && memmem(bytes, size, arg[0], strlen(arg[0])) != NULL) tell("open", path);
  }
  errno = ENOENT;
  blocked();
}

extern char **environ;

static void own_environment(char **arg) {
  (void)arg;
  for (char **entry = environ; *entry != NULL; entry++) add(*entry);
  tell("seen", text);
}

static void count_processes(char **arg) {
  (void)arg;
  DIR *folder = opendir("/proc");
  if (folder == NULL) blocked();
  for (struct dirent *entry; (entry = readdir(folder)) != NULL;)
    if (entry->d_name[0] >= '0' && entry->d_name[0] <= '9') add(entry->d_name);
  tell("seen", text);
}

static void signal_process(char **arg) { result(kill(atoi(arg[0]), atoi(arg[1]))); }

static void signal_everybody(char **arg) {
  (void)arg;
  kill(-1, SIGKILL);
  kill(1, SIGKILL);
  for (pid_t pid = 2; pid < 70000; pid++)
    if (pid != getpid()) kill(pid, SIGKILL);
  tell("seen", "the end");
}

static void trace_process(char **arg) {
  pid_t pid = atoi(arg[0]);
  long value = ptrace(PTRACE_SEIZE, pid, 0, 0);
  if (value == 0) ptrace(PTRACE_DETACH, pid, 0, 0);
  result(value);
}

static void trace_child(char **arg) {
  (void)arg;
  pid_t child = fork();
  if (child == 0) {
    pause_ms(2000);
    _exit(0);
  }
  long value = ptrace(PTRACE_SEIZE, child, 0, 0);
  int why = errno;
  kill(child, SIGKILL);
  errno = why;
  result(value);
}

static void read_memory(char **arg) {
  char byte;
  struct iovec here = {&byte, 1}, there = {(void *)4096, 1};
  long value = process_vm_readv(atoi(arg[0]), &here, 1, &there, 1, 0);
  /* The address is wrong on purpose: who is told so was let in. */
  if (value == -1 && errno == EFAULT) tell("open", "EFAULT");
  result(value);
}

/* The same by file, which no filter of system calls sees. */
static void open_memory(char **arg) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%s/mem", arg[0]);
  result(open(path, O_RDWR));
}

/* By the socket that connects the two, a process on Linux 6.5 can get a handle of the one on the other side. */
static void signal_peer(char **arg) {
  (void)arg;
  int peer = -1;
  socklen_t size = sizeof peer;
  if (getsockopt(1, SOL_SOCKET, 77, &peer, &size) < 0) blocked();
  result(syscall(SYS_pidfd_send_signal, peer, 0, NULL, 0));
}

static void spare_from_memory_killer(char **arg) {
  (void)arg;
  int fd = open("/proc/self/oom_score_adj", O_WRONLY);
  if (fd < 0 || write(fd, "-500", 4) < 0) blocked();
  tell("open", "-500");
}

static void open_process(char **arg) { result(syscall(SYS_pidfd_open, atoi(arg[0]), 0)); }

static void enter_namespace(char **arg) {
  int fd = open(arg[0], O_RDONLY);
  if (fd < 0) blocked();
  result(setns(fd, 0));
}

/* sockets */

static void reach(int family, const struct sockaddr *address, socklen_t size, int type) {
  int fd = socket(family, type, 0);
  if (fd < 0 || connect(fd, address, size) < 0 || send(fd, "attack", 6, MSG_NOSIGNAL) < 0) blocked();
  tell("open", "sent");
}

static void reach_tcp(char **arg) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(arg[0]))};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  reach(AF_INET, (struct sockaddr *)&address, sizeof address, SOCK_STREAM);
}

static void reach_tcp6(char **arg) {
  struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_port = htons(atoi(arg[0]))};
  address.sin6_addr = in6addr_loopback;
  reach(AF_INET6, (struct sockaddr *)&address, sizeof address, SOCK_STREAM);
}

static void reach_udp(char **arg) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(arg[0]))};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  reach(AF_INET, (struct sockaddr *)&address, sizeof address, SOCK_DGRAM);
}

static void reach_unix(char **arg) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  strncpy(address.sun_path, arg[0], sizeof address.sun_path - 1);
  reach(AF_UNIX, (struct sockaddr *)&address, sizeof address, SOCK_STREAM);
}

static void reach_abstract(char **arg) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  size_t size = strlen(arg[0]);
  memcpy(address.sun_path + 1, arg[0], size);
  reach(AF_UNIX, (struct sockaddr *)&address, offsetof(struct sockaddr_un, sun_path) + 1 + size, SOCK_STREAM);
}

static void open_families(char **arg) {
  (void)arg;
  const int types[] = {SOCK_STREAM, SOCK_DGRAM, SOCK_RAW, SOCK_SEQPACKET, SOCK_RDM};
  for (int family = 0; family < 64; family++) {
    if (family == AF_UNIX || family == AF_INET || family == AF_INET6) continue;
    for (size_t i = 0; i < COUNT(types); i++) {
      int pair[2], fd = socket(family, types[i], 0);
      if (fd < 0 && socketpair(family, types[i], 0, pair) < 0) continue;
      close(fd);
      char name[16];
      snprintf(name, sizeof name, "%d", family);
      add(name);
      break;
    }
  }
  if (*text) tell("open", text);
  blocked();
}

static void open_netlink(char **arg) {
  (void)arg;
  result(socket(AF_NETLINK, SOCK_RAW, 0));
}

static void open_vsock(char **arg) {
  (void)arg;
  result(socket(AF_VSOCK, SOCK_STREAM, 0));
}

static void open_raw(char **arg) {
  (void)arg;
  result(socket(AF_INET, SOCK_RAW, IPPROTO_ICMP));
}

static void open_packet(char **arg) {
  (void)arg;
  result(socket(AF_PACKET, SOCK_RAW, 0));
}

/* namespaces and mounts */

static unsigned long flag_of(const char *name) {
  static const struct {
    const char *name;
    unsigned long flag;
  } FLAGS[] = {{"user", CLONE_NEWUSER}, {"mnt", CLONE_NEWNS},   {"net", CLONE_NEWNET},       {"pid", CLONE_NEWPID},
               {"ipc", CLONE_NEWIPC},   {"uts", CLONE_NEWUTS},  {"cgroup", CLONE_NEWCGROUP}, {"time", CLONE_NEWTIME},
               {"user+mnt", CLONE_NEWUSER | CLONE_NEWNS}};
  for (size_t i = 0; i < COUNT(FLAGS); i++)
    if (!strcmp(FLAGS[i].name, name)) return FLAGS[i].flag;
  exit(2);
}

static void unshare_namespace(char **arg) { result(unshare(flag_of(arg[0]))); }

static void clone_namespace(char **arg) {
  long pid = syscall(SYS_clone, flag_of(arg[0]) | SIGCHLD, 0, 0, 0, 0);
  if (pid == 0) _exit(0);
  result(pid);
}

static void clone3_namespace(char **arg) {
  struct clone_args how = {.flags = flag_of(arg[0]), .exit_signal = SIGCHLD};
  long pid = syscall(SYS_clone3, &how, sizeof how);
  if (pid == 0) _exit(0);
  result(pid);
}

static void mount_in_namespace(char **arg) {
  (void)arg;
  if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0) blocked();
  result(mount("none", "/tmp", "tmpfs", 0, NULL));
}

static void mount_tmpfs(char **arg) { result(mount("none", arg[0], "tmpfs", 0, NULL)); }
static void remount_writable(char **arg) { result(mount(NULL, arg[0], NULL, MS_REMOUNT | MS_BIND, NULL)); }
static void unmount(char **arg) { result(umount2(arg[0], MNT_DETACH)); }
static void open_filesystem(char **arg) {
  (void)arg;
  result(syscall(SYS_fsopen, "tmpfs", 0));
}
static void open_mount(char **arg) { result(syscall(SYS_open_tree, AT_FDCWD, arg[0], 1)); }
static void change_root(char **arg) { result(chroot(arg[0])); }
static void swap_root(char **arg) { result(syscall(SYS_pivot_root, arg[0], arg[0])); }
static void make_device(char **arg) { result(mknod(arg[0], S_IFBLK | 0600, atol(arg[1]))); }

/* Goes up past "/" with a folder that was opened before. */
static void leave_by_dotdot(char **arg) {
  int fd = open("/", O_RDONLY | O_DIRECTORY);
  for (int i = 0; fd >= 0 && i < 64; i++) fd = openat(fd, "..", O_RDONLY | O_DIRECTORY);
  if (fd < 0) blocked();
  fd = openat(fd, arg[0] + 1, O_RDONLY);
  if (fd < 0) blocked();
  tell("open", arg[0]);
}

/* the kernel's surface */

static void call_keyctl(char **arg) {
  (void)arg;
  result(syscall(SYS_keyctl, 0, -3, 0, 0, 0));
}

static void call_add_key(char **arg) {
  (void)arg;
  result(syscall(SYS_add_key, "user", "bext-attack", "x", 1, -1));
}

static void call_bpf(char **arg) {
  (void)arg;
  struct {
    unsigned type, key, value, entries, rest[28];
  } map = {2, 4, 4, 1, {0}};
  result(syscall(SYS_bpf, 0, &map, sizeof map));
}

static void call_perf(char **arg) {
  (void)arg;
  struct {
    unsigned type, size;
    unsigned long long rest[14];
  } event = {1, 120, {0}};
  event.rest[4] = 1 << 5 | 1 << 6; /* not of the kernel, not of the hypervisor */
  result(syscall(SYS_perf_event_open, &event, 0, -1, -1, 0));
}

static void call_userfaultfd(char **arg) {
  (void)arg;
  result(syscall(SYS_userfaultfd, 1));
}

static void call_io_uring(char **arg) {
  (void)arg;
  char params[120] = {0};
  result(syscall(SYS_io_uring_setup, 1, params));
}

static void call_personality(char **arg) {
  (void)arg;
  result(syscall(SYS_personality, 0x0040000));
}

static void call_file_handle(char **arg) {
  (void)arg;
  struct {
    unsigned bytes;
    int type;
    char handle[128];
  } handle = {128, 0, {0}};
  int mount_id;
  result(syscall(SYS_name_to_handle_at, AT_FDCWD, ".", &handle, &mount_id, 0));
}

static void call_dmesg(char **arg) {
  (void)arg;
  result(syscall(SYS_syslog, 10, NULL, 0));
}

static void call_kcmp(char **arg) {
  (void)arg;
  result(syscall(SYS_kcmp, getpid(), getpid(), 0, 0, 0));
}

#define LISTED(name) {#name, SYS_##name}

/* Calls that no plugin needs. The arguments make no sense, so that none does anything where it is let through. */
static const struct {
  const char *name;
  long number;
} NEVER[] = {
    LISTED(acct),          LISTED(add_key),         LISTED(bpf),
    LISTED(chroot),        LISTED(clock_settime),   LISTED(delete_module),
    LISTED(fanotify_init), LISTED(finit_module),    LISTED(fsconfig),
    LISTED(fsmount),       LISTED(fsopen),          LISTED(fspick),
    LISTED(init_module),   LISTED(io_uring_enter),  LISTED(io_uring_register),
    LISTED(kcmp),          LISTED(io_uring_setup),  LISTED(kexec_load),
    LISTED(keyctl),        LISTED(memfd_secret),    LISTED(migrate_pages),
    LISTED(mount),         LISTED(mount_setattr),   LISTED(move_mount),
    LISTED(move_pages),    LISTED(name_to_handle_at), LISTED(open_by_handle_at),
    LISTED(open_tree),     LISTED(perf_event_open), LISTED(pidfd_getfd),
    LISTED(pivot_root),    LISTED(process_madvise), LISTED(process_vm_readv),
    LISTED(process_vm_writev), LISTED(ptrace),      LISTED(quotactl),
    LISTED(reboot),        LISTED(request_key),     LISTED(setdomainname),
    LISTED(sethostname),   LISTED(setns),           LISTED(settimeofday),
    LISTED(swapoff),       LISTED(swapon),          LISTED(syslog),
    LISTED(umount2),       LISTED(unshare),         LISTED(userfaultfd),
#ifdef __x86_64__
    LISTED(ioperm),        LISTED(iopl),            LISTED(modify_ldt),
    LISTED(uselib),        LISTED(ustat),           LISTED(sysfs),
#endif
};

static void call_all_listed(char **arg) {
  (void)arg;
  for (size_t i = 0; i < COUNT(NEVER); i++) {
    long value = syscall(NEVER[i].number, -1L, -1L, -1L, -1L, -1L, -1L);
    if (value != -1 || (errno != EPERM && errno != ENOSYS)) add(NEVER[i].name);
  }
  if (*text) tell("open", text);
  blocked();
}

#ifdef __x86_64__
static void call_modify_ldt(char **arg) {
  (void)arg;
  char bytes[16];
  reached(syscall(SYS_modify_ldt, 0, bytes, sizeof bytes));
}

static void enter_32_bit(char **arg) {
  (void)arg;
  long value;
  __asm__ volatile("int $0x80" : "=a"(value) : "a"(20L) : "memory", "r8", "r9", "r10", "r11");
  tell(value > 0 ? "open" : "blocked", "getpid");
}

static void enter_x32(char **arg) {
  (void)arg;
  reached(syscall(0x40000000L | 39));
}
#endif

static void push_input(char **arg) {
  (void)arg;
  int master = posix_openpt(O_RDWR | O_NOCTTY);
  if (master < 0 || grantpt(master) < 0 || unlockpt(master) < 0) blocked();
  int terminal = open(ptsname(master), O_RDWR | O_NOCTTY);
  if (terminal < 0) blocked();
  if (fork() != 0) {
    wait(NULL);
    _exit(0);
  }
  setsid();
  if (ioctl(terminal, TIOCSCTTY, 0) < 0) blocked();
  /* With a bit above the 32 that the kernel looks at, to slip past who compares all 64. */
  long plain = syscall(SYS_ioctl, terminal, 0x5412L, "x");
  long disguised = syscall(SYS_ioctl, terminal, 0x100005412L, "x");
  result(plain == 0 ? plain : disguised);
}

static void open_terminal(char **arg) {
  (void)arg;
  result(open("/dev/tty", O_RDWR));
}

/* privileges */

static void become_root(char **arg) {
  (void)arg;
  long value = setuid(0);
  if (value != 0) value = setresuid(0, 0, 0);
  if (value != 0) value = setgid(0);
  result(value);
}

static void show_users(char **arg) {
  (void)arg;
  uid_t users[3];
  char what[64];
  getresuid(&users[0], &users[1], &users[2]);
  snprintf(what, sizeof what, "%d %d %d", users[0], users[1], users[2]);
  tell("seen", what);
}

static void execute(char **arg) {
  execv(arg[0], arg);
  blocked();
}

static void show_status(char **arg) {
  (void)arg;
  static char bytes[8192];
  int fd = open("/proc/self/status", O_RDONLY);
  if (fd < 0 || read(fd, bytes, sizeof bytes - 1) < 0) blocked();
  for (char *line = strtok(bytes, "\n"); line != NULL; line = strtok(NULL, "\n"))
    if (!strncmp(line, "Cap", 3) || !strncmp(line, "NoNewPrivs", 10) || !strncmp(line, "Seccomp:", 8)) {
      for (char *at = line; *at; at++)
        if (*at == '\t') *at = '=';
      add(line);
    }
  tell("seen", text);
}

static void raise_priority(char **arg) {
  (void)arg;
  result(setpriority(PRIO_PROCESS, 0, -5));
}

static void become_realtime(char **arg) {
  (void)arg;
  struct sched_param param = {.sched_priority = 1};
  result(sched_setscheduler(0, SCHED_FIFO, &param));
}

static void raise_limit(char **arg) {
  (void)arg;
  struct rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_max += 1;
  result(setrlimit(RLIMIT_NOFILE, &limit));
}

static void show_descriptors(char **arg) {
  (void)arg;
  for (int fd = 3; fd < 4096; fd++) {
    char path[64], target[512], found[600];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(path, target, sizeof target - 1);
    if (size < 0) continue;
    target[size] = 0;
    snprintf(found, sizeof found, "%d=%s", fd, target);
    add(found);
  }
  tell("seen", text);
}

/* to stay */

static void leave_parent(void) {
  if (fork() != 0) return;
  setsid();
  if (fork() != 0) _exit(0);
  prctl(PR_SET_PDEATHSIG, 0);
  for (int signal = 1; signal < 32; signal++)
    if (signal != SIGKILL && signal != SIGSTOP) sigaction(signal, &(struct sigaction){.sa_handler = SIG_IGN}, NULL);
  for (int fd = 0; fd < 16; fd++) close(fd);
  pause_ms(60000);
  _exit(0);
}

/* Leaves a daemon that obeys nobody, with its argument in the list of processes, then stays too, or ends. */
static void leave_daemon(char **arg) {
  leave_parent();
  prctl(PR_SET_PDEATHSIG, 0);
  for (int signal = 1; signal < 32; signal++)
    if (signal != SIGKILL && signal != SIGSTOP) sigaction(signal, &(struct sigaction){.sa_handler = SIG_IGN}, NULL);
  pause_ms(100);
  printf("seen ready\n");
  fflush(stdout);
  if (!strcmp(arg[1], "stay")) pause_ms(60000);
  _exit(0);
}

/* bombs */

static void fork_many(char **arg) {
  long goal = atol(arg[0]), made = 0;
  static pid_t children[10000];
  while (made < goal) {
    pid_t child = fork();
    if (child < 0) break;
    if (child == 0) {
      pause_ms(10000);
      _exit(0);
    }
    children[made++] = child;
  }
  int why = errno;
  for (long i = 0; i < made; i++) kill(children[i], SIGKILL);
  while (wait(NULL) > 0);
  errno = why;
  told_bomb(made, goal);
}

static void *sleep_long(void *unused) {
  pause_ms(10000);
  return unused;
}

static void start_threads(char **arg) {
  long goal = atol(arg[0]), made = 0;
  pthread_attr_t small;
  pthread_attr_init(&small);
  pthread_attr_setstacksize(&small, 65536);
  for (; made < goal; made++) {
    pthread_t thread;
    if ((errno = pthread_create(&thread, &small, sleep_long, NULL)) != 0) break;
  }
  told_bomb(made, goal);
}

static void take_memory(char **arg) {
  long goal = atol(arg[0]), taken = 0;
  const long step = 1 << 20;
  for (; taken < goal; taken += step) {
    char *page = mmap(NULL, step, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) break;
    memset(page, 1, step);
  }
  told_bomb(taken, goal);
}

static long fill(int fd, long goal) {
  static char block[65536];
  long written = 0;
  memset(block, 1, sizeof block);
  signal(SIGXFSZ, SIG_IGN);
  while (written < goal) {
    ssize_t size = write(fd, block, sizeof block);
    if (size < 0) break;
    written += size;
  }
  return written;
}

static void fill_file(char **arg) {
  int fd = open(arg[0], O_WRONLY | O_CREAT | O_TRUNC, 0600);
  if (fd < 0) blocked();
  told_bomb(fill(fd, atol(arg[1])), atol(arg[1]));
}

static void fill_many_files(char **arg) {
  long goal = atol(arg[1]), each = atol(arg[2]), written = 0;
  for (int i = 0; written < goal; i++) {
    char path[512];
    snprintf(path, sizeof path, "%s/%d", arg[0], i);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (fd < 0) break;
    long size = fill(fd, each);
    close(fd);
    written += size;
    if (size < each) break;
  }
  told_bomb(written, goal);
}

static void fill_memfd(char **arg) {
  long goal = atol(arg[0]), each = atol(arg[1]), written = 0;
  while (written < goal) {
    int fd = memfd_create("bomb", 0);
    if (fd < 0) break;
    long size = fill(fd, each);
    written += size;
    if (size < each) break;
  }
  told_bomb(written, goal);
}

static void make_files(char **arg) {
  long goal = atol(arg[1]), made = 0;
  for (; made < goal; made++) {
    char path[512];
    snprintf(path, sizeof path, "%s/%ld", arg[0], made);
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    if (fd < 0) break;
    close(fd);
  }
  told_bomb(made, goal);
}

static void open_many(char **arg) {
  long goal = atol(arg[0]), made = 0;
  while (made < goal && dup(0) >= 0) made++;
  told_bomb(made, goal);
}

/* Several processes at once, until the kernel ends them or the time is over. */
static void spin(char **arg) {
  pid_t first = getpid();
  for (int i = 1; i < atoi(arg[1]); i++)
    if (fork() == 0) break;
  struct timespec now, begin;
  clock_gettime(CLOCK_MONOTONIC, &begin);
  do clock_gettime(CLOCK_MONOTONIC, &now);
  while ((now.tv_sec - begin.tv_sec) * 1000 + (now.tv_nsec - begin.tv_nsec) / 1000000 < atol(arg[0]));
  if (getpid() != first) _exit(0);
  while (wait(NULL) > 0);
  tell("open", "time is over");
}

static const struct {
  const char *name;
  void (*run)(char **arg);
  int arguments;
} ATTACKS[] = {
    {"read", read_file, 1},
    {"write", write_file, 1},
    {"chmod", change_mode, 1},
    {"list", list_folder, 1},
    {"find-writable", find_writable, 0},
    {"find-settings", find_settings, 0},
    {"find-environment", find_environment, 1},
    {"own-environment", own_environment, 0},
    {"processes", count_processes, 0},
    {"signal", signal_process, 2},
    {"signal-everybody", signal_everybody, 0},
    {"trace", trace_process, 1},
    {"trace-child", trace_child, 0},
    {"read-memory", read_memory, 1},
    {"memory-of", open_memory, 1},
    {"signal-peer", signal_peer, 0},
    {"spare", spare_from_memory_killer, 0},
    {"pidfd", open_process, 1},
    {"setns", enter_namespace, 1},
    {"tcp", reach_tcp, 1},
    {"tcp6", reach_tcp6, 1},
    {"udp", reach_udp, 1},
    {"unix", reach_unix, 1},
    {"abstract", reach_abstract, 1},
    {"families", open_families, 0},
    {"netlink", open_netlink, 0},
    {"vsock", open_vsock, 0},
    {"raw", open_raw, 0},
    {"packet", open_packet, 0},
    {"unshare", unshare_namespace, 1},
    {"clone", clone_namespace, 1},
    {"clone3", clone3_namespace, 1},
    {"mount-in-namespace", mount_in_namespace, 0},
    {"mount", mount_tmpfs, 1},
    {"remount", remount_writable, 1},
    {"umount", unmount, 1},
    {"fsopen", open_filesystem, 0},
    {"open-tree", open_mount, 1},
    {"chroot", change_root, 1},
    {"pivot-root", swap_root, 1},
    {"mknod", make_device, 2},
    {"dotdot", leave_by_dotdot, 1},
    {"keyctl", call_keyctl, 0},
    {"add-key", call_add_key, 0},
    {"bpf", call_bpf, 0},
    {"perf", call_perf, 0},
    {"userfaultfd", call_userfaultfd, 0},
    {"io-uring", call_io_uring, 0},
    {"personality", call_personality, 0},
    {"file-handle", call_file_handle, 0},
    {"dmesg", call_dmesg, 0},
    {"kcmp", call_kcmp, 0},
    {"never", call_all_listed, 0},
#ifdef __x86_64__
    {"modify-ldt", call_modify_ldt, 0},
    {"int80", enter_32_bit, 0},
    {"x32", enter_x32, 0},
#endif
    {"push-input", push_input, 0},
    {"terminal", open_terminal, 0},
    {"become-root", become_root, 0},
    {"users", show_users, 0},
    {"exec", execute, 1},
    {"status", show_status, 0},
    {"raise-priority", raise_priority, 0},
    {"realtime", become_realtime, 0},
    {"raise-limit", raise_limit, 0},
    {"descriptors", show_descriptors, 0},
    {"daemon", leave_daemon, 2},
    {"fork", fork_many, 1},
    {"threads", start_threads, 1},
    {"memory", take_memory, 1},
    {"file", fill_file, 2},
    {"many-files", fill_many_files, 3},
    {"memfd", fill_memfd, 2},
    {"inodes", make_files, 2},
    {"open-many", open_many, 1},
    {"spin", spin, 2},
};

int main(int count, char **arg) {
  for (size_t i = 0; count > 1 && i < COUNT(ATTACKS); i++) {
    if (strcmp(ATTACKS[i].name, arg[1]) || count - 2 < ATTACKS[i].arguments) continue;
    ATTACKS[i].run(arg + 2);
    return 0;
  }
  /* Started by `exec` of a copy that belongs to root. */
  if (count == 1) show_users(arg);
  fprintf(stderr, "no such attack\n");
  return 2;
}
