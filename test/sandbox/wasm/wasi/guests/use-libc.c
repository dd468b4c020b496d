// What a C library asks of WASI, from a handler of the http-wasm ABI. Reports on standard output.
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

__attribute__((import_module("http_handler"), import_name("get_uri"))) int get_uri(char *, int);

__attribute__((export_name("handle_request"))) int64_t handle_request(void) {
  char uri[64] = {0};
  get_uri(uri, sizeof uri - 1);
  if (strcmp(uri, "/exit") == 0) exit(3);
  if (strcmp(uri, "/abort") == 0) abort();

  printf("environment: %s\n", getenv("PATH") == NULL ? "empty" : "not empty");
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  printf("year: %d, part of a millisecond: %ld\n", gmtime(&now.tv_sec)->tm_year + 1900, now.tv_nsec % 1000000);
  unsigned char random[16] = {0};
  int zeros = 0;
  if (getentropy(random, sizeof random) != 0) printf("getentropy: %s\n", strerror(errno));
  for (unsigned i = 0; i < sizeof random; i++) zeros += random[i] == 0;
  printf("random: %s\n", zeros < 8 ? "yes" : "no");
  printf("open: %s\n", open("/etc/passwd", O_RDONLY) < 0 ? strerror(errno) : "works");
  printf("fopen: %s\n", fopen("/etc/passwd", "r") == NULL ? strerror(errno) : "works");
  printf("getchar: %d\n", getchar());
  struct timespec hour = {3600, 0};
  printf("nanosleep: %s\n", nanosleep(&hour, NULL) == 0 ? "slept" : strerror(errno));
  printf("isatty: %d\n", isatty(1));
  fprintf(stderr, "a warning without an end");
  printf("no newline");
  fflush(stdout);
  return 1;
}

__attribute__((export_name("handle_response"))) void handle_response(int context, int error) {}
