/*
 * A disk that fails, for tests: loaded in front of the C library (LD_PRELOAD), it lets writes or syncs
 * of one file fail.
 *
 *   DISK_FAULT=CALL:FILE:NTH:ERRNO   CALL is `write` or `sync`; the NTH of FILE, and all later ones
 *   DISK_FAULT_UNTIL=PATH            ... as long as there is no such file
 *
 * What was written since the last good sync is gone after one that fails, as on a system that takes
 * such pages for clean.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

struct unsynced {
  struct unsynced *before;
  off_t offset;
  size_t size;
  char old[];
};

static char call[16], file[64];
static long left = -1;
static int error;
static const char *until;
static struct unsynced *newest;
static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static int (*real_fsync)(int), (*real_fdatasync)(int);

__attribute__((constructor)) static void configure(void) {
  const char *fault = getenv("DISK_FAULT");
  real_pwrite = (ssize_t (*)(int, const void *, size_t, off_t))dlsym(RTLD_NEXT, "pwrite");
  real_fsync = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
  real_fdatasync = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
  until = getenv("DISK_FAULT_UNTIL");
  if (fault != NULL && sscanf(fault, "%15[^:]:%63[^:]:%ld:%d", call, file, &left, &error) != 4) {
    fprintf(stderr, "DISK_FAULT=%s: want CALL:FILE:NTH:ERRNO\n", fault);
    exit(2);
  }
}

static int is_file(int fd) {
  char link[64], path[4096];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t size = readlink(link, path, sizeof path - 1);
  if (left < 0 || size < 0) return 0;
  path[size] = 0;
  const char *name = strrchr(path, '/');
  return name != NULL && strcmp(name + 1, file) == 0;
}

static int fails(const char *what) {
  if (strcmp(call, what) != 0) return 0;
  if (left > 1) left -= 1;
  else if (until == NULL || access(until, F_OK) != 0) return 1;
  return 0;
}

static void remember(int fd, size_t size, off_t offset) {
  struct unsynced *change = calloc(1, sizeof *change + size);
  if (change == NULL || pread(fd, change->old, size, offset) < 0) abort();
  change->before = newest;
  change->offset = offset;
  change->size = size;
  newest = change;
}

/* The newest first. What was written behind the end of the file becomes zeros. */
static void forget(int fd, int is_lost) {
  while (newest != NULL) {
    struct unsynced *change = newest;
    newest = change->before;
    if (is_lost && real_pwrite(fd, change->old, change->size, change->offset) < 0) abort();
    free(change);
  }
}

ssize_t pwrite64(int fd, const void *bytes, size_t size, off_t offset) {
  if (is_file(fd)) {
    if (fails("write")) {
      errno = error;
      return -1;
    }
    remember(fd, size, offset);
  }
  return real_pwrite(fd, bytes, size, offset);
}

ssize_t pwrite(int fd, const void *bytes, size_t size, off_t offset) {
  return pwrite64(fd, bytes, size, offset);
}

static int sync_or_fail(int fd, int (*real)(int)) {
  if (!is_file(fd)) return real(fd);
  int is_failure = fails("sync");
  forget(fd, is_failure);
  if (!is_failure) return real(fd);
  errno = error;
  return -1;
}

int fsync(int fd) { return sync_or_fail(fd, real_fsync); }

int fdatasync(int fd) { return sync_or_fail(fd, real_fdatasync); }
