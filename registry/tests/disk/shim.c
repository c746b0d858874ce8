/* Put before the C library of a server (LD_PRELOAD): writes down what changes below a folder, ends the process at the n-th
 * call that makes a name or bytes durable, and writes less than it is given. What the tests make of it is told in power.rs,
 * every.rs and calls.rs. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;
static const char *root;
static int journal = -1;
static long last_call, calls;
static int halves;

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

__attribute__((constructor)) static void begin(void) {
    const char *to = getenv("SHIM_JOURNAL"), *call = getenv("SHIM_KILL_AT");
    root = getenv("SHIM_ROOT");
    halves = getenv("SHIM_HALVES") != NULL;
    if (to) journal = syscall(SYS_openat, AT_FDCWD, to, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (call) last_call = atol(call);
}

static int ours(const char *path) {
    return root && path && strncmp(path, root, strlen(root)) == 0;
}

/* The path behind a descriptor, when it is ours and still has a name. */
static int path_of(int fd, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = syscall(SYS_readlinkat, AT_FDCWD, link, path, PATH_MAX - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return ours(path) && !strstr(path, " (deleted)");
}

/* One record: kind, place, and two texts with their lengths. One call, so that a reader sees whole ones. */
static void record(char kind, const char *path, uint64_t at, const void *bytes, uint32_t length) {
    if (journal < 0) return;
    uint32_t named = strlen(path);
    struct iovec parts[] = {{&kind, 1}, {&at, 8}, {&named, 4}, {(void *)path, named}, {&length, 4}, {(void *)bytes, length}};
    if (syscall(SYS_writev, journal, parts, 6) < 0) abort();
}

static void counted(void) {
    if (last_call && __atomic_add_fetch(&calls, 1, __ATOMIC_SEQ_CST) == last_call) kill(getpid(), SIGKILL);
}

static int opened(int (*real)(const char *, int, ...), const char *path, int flags, mode_t mode) {
    if (!ours(path) || !(flags & (O_CREAT | O_TRUNC))) return real(path, flags, mode);
    struct stat before;
    pthread_mutex_lock(&turn);
    int was = stat(path, &before) == 0, fd = real(path, flags, mode);
    if (fd >= 0 && !was) record('C', path, 0, "", 0);
    if (fd >= 0 && was && (flags & O_TRUNC)) record('T', path, 0, "", 0);
    pthread_mutex_unlock(&turn);
    return fd;
}

#define OPEN(name)                                       \
    int name(const char *path, int flags, ...) {         \
        va_list more;                                    \
        va_start(more, flags);                           \
        mode_t mode = va_arg(more, mode_t);              \
        va_end(more);                                    \
        return opened(REAL(name), path, flags, mode);    \
    }
OPEN(open)
OPEN(open64)

int mkdir(const char *path, mode_t mode) {
    pthread_mutex_lock(&turn);
    int made = REAL(mkdir)(path, mode);
    if (made == 0 && ours(path)) record('D', path, 0, "", 0);
    pthread_mutex_unlock(&turn);
    return made;
}

/* How much of so much is written at once. */
static size_t taken(size_t length) {
    return halves && length > 1 ? length / 2 : length;
}

ssize_t write(int fd, const void *bytes, size_t length) {
    char path[PATH_MAX];
    if ((journal < 0 && !halves) || !path_of(fd, path)) return REAL(write)(fd, bytes, length);
    length = taken(length);
    pthread_mutex_lock(&turn);
    off_t at = lseek(fd, 0, SEEK_CUR);
    ssize_t written = REAL(write)(fd, bytes, length);
    if (written > 0) record('W', path, at, bytes, written);
    pthread_mutex_unlock(&turn);
    return written;
}

#define PWRITE(name)                                                             \
    ssize_t name(int fd, const void *bytes, size_t length, off_t at) {           \
        char path[PATH_MAX];                                                     \
        if ((journal < 0 && !halves) || !path_of(fd, path)) return REAL(name)(fd, bytes, length, at); \
        length = taken(length);                                                  \
        pthread_mutex_lock(&turn);                                               \
        ssize_t written = REAL(name)(fd, bytes, length, at);                     \
        if (written > 0) record('W', path, at, bytes, written);                  \
        pthread_mutex_unlock(&turn);                                             \
        return written;                                                          \
    }
PWRITE(pwrite)
PWRITE(pwrite64)

#define FTRUNCATE(name)                                          \
    int name(int fd, off_t size) {                               \
        char path[PATH_MAX];                                     \
        int named = path_of(fd, path);                           \
        pthread_mutex_lock(&turn);                               \
        int cut = REAL(name)(fd, size);                          \
        if (cut == 0 && named) record('T', path, size, "", 0);   \
        pthread_mutex_unlock(&turn);                             \
        return cut;                                              \
    }
FTRUNCATE(ftruncate)
FTRUNCATE(ftruncate64)

#define SYNC(name)                                               \
    int name(int fd) {                                           \
        char path[PATH_MAX];                                     \
        int named = path_of(fd, path);                           \
        if (named) counted();                                    \
        pthread_mutex_lock(&turn);                               \
        int synced = REAL(name)(fd);                             \
        if (synced == 0 && named) record('S', path, 0, "", 0);   \
        pthread_mutex_unlock(&turn);                             \
        return synced;                                           \
    }
SYNC(fsync)
SYNC(fdatasync)

#define TO(name, kind)                                                                        \
    int name(const char *from, const char *to) {                                              \
        if (ours(from)) counted();                                                            \
        pthread_mutex_lock(&turn);                                                            \
        int done = REAL(name)(from, to);                                                      \
        if (done == 0 && ours(from)) record(kind, from, 0, to, strlen(to));                   \
        pthread_mutex_unlock(&turn);                                                          \
        return done;                                                                          \
    }
TO(rename, 'R')
TO(link, 'L')

int unlink(const char *path) {
    if (ours(path)) counted();
    pthread_mutex_lock(&turn);
    int gone = REAL(unlink)(path);
    if (gone == 0 && ours(path)) record('U', path, 0, "", 0);
    pthread_mutex_unlock(&turn);
    return gone;
}
