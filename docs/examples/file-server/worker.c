/* SPDX-License-Identifier: MIT */
/* worker FILTER [--misbehave=WHAT]: a file server's process for one connection.
 *
 * Descriptor 3 is the connection, descriptor 4 the directory that is served. A client sends "GET NAME\n" and
 * receives the file of that name, or "ERROR\n". FILTER is what `cloister policy bpf --raw file-server.policy`
 * has written. WHAT makes the process do, once it is confined, what somebody who has taken it over would try.
 */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { CONNECTION = 3, DIRECTORY = 4, FILE_TO_SEND = 5, LINE = 256, CHUNK = 65536 };

/* The filter cannot see which path a call opens. Landlock can: files are opened for reading beneath DIRECTORY
 * only. */
static void restrict_paths(void) {
    const struct landlock_ruleset_attr all = {.handled_access_fs =
                                                  0x1fff}; /* all that the first version of Landlock knows */
    const struct landlock_path_beneath_attr beneath = {.allowed_access = LANDLOCK_ACCESS_FS_READ_FILE,
                                                       .parent_fd = DIRECTORY};
    const int ruleset = (int)syscall(SYS_landlock_create_ruleset, &all, sizeof all, 0);
    if (ruleset < 0)
        err(71, "landlock_create_ruleset: does this kernel have Landlock?");
    if (syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &beneath, 0) != 0 ||
        syscall(SYS_landlock_restrict_self, ruleset, 0) != 0)
        err(71, "Landlock");
    close(ruleset);
}

static struct sock_fprog read_filter(const char* file) {
    static struct sock_filter instructions[BPF_MAXINSNS];
    const int fd = open(file, O_RDONLY | O_CLOEXEC);
    const ssize_t size = fd < 0 ? -1 : read(fd, instructions, sizeof instructions);
    if (size < 0)
        err(66, "%s", file);
    if (size == 0 || size % (ssize_t)sizeof instructions[0] != 0)
        errx(65, "%s: not an array of struct sock_filter", file);
    return (struct sock_fprog){.len = (unsigned short)(size / (ssize_t)sizeof instructions[0]),
                               .filter = instructions};
}

/* Installed last: from here on only the calls of file-server.policy are made. */
static void install_filter(const struct sock_fprog* program) {
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, program) != 0)
        err(71, "seccomp");
}

static int misbehave(const char* what) {
    if (strcmp(what, "socket") == 0)
        return socket(AF_INET, SOCK_STREAM, 0);
    if (strcmp(what, "shell") == 0)
        return execl("/bin/sh", "sh", (char*)NULL);
    if (strcmp(what, "create") == 0)
        return openat(DIRECTORY, "new", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (strcmp(what, "outside") == 0) /* the filter lets it pass, since it sees no path; Landlock does not */
        return openat(DIRECTORY, "/etc/passwd", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    return -1;
}

static void fail(void) {
    (void)!write(CONNECTION, "ERROR\n", 6);
    _exit(1);
}

static void serve(void) {
    char line[LINE + 1];
    size_t length = 0;
    while (length == 0 || line[length - 1] != '\n') {
        const ssize_t got = read(CONNECTION, line + length, LINE - length);
        if (got <= 0) /* also a line that is too long */
            fail();
        length += (size_t)got;
    }
    line[length - 1] = '\0';
    const char* name = line + 4;
    if (memchr(line, '\0', length - 1) != NULL || strncmp(line, "GET ", 4) != 0 || *name == '\0' ||
        *name == '.' || strchr(name, '/') != NULL)
        fail();
    if (openat(DIRECTORY, name, O_RDONLY | O_NONBLOCK | O_CLOEXEC) != FILE_TO_SEND)
        fail();
    ssize_t sent;
    while ((sent = sendfile(CONNECTION, FILE_TO_SEND, NULL, CHUNK)) > 0)
        ;
    if (sent < 0)
        fail();
}

int main(int argc, char** argv) {
    if (argc < 2 || argc > 3 || (argc == 3 && strncmp(argv[2], "--misbehave=", 12) != 0))
        errx(64, "usage: worker FILTER [--misbehave=socket|shell|create|outside]");
    const struct sock_fprog program = read_filter(argv[1]);
    if (syscall(SYS_close_range, FILE_TO_SEND, ~0U, 0) != 0) /* the file that is opened gets this number */
        err(71, "close_range");
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        err(71, "no_new_privs");
    restrict_paths();
    install_filter(&program);
    if (argc == 3 && misbehave(argv[2] + 12) < 0)
        fail();
    serve();
    _exit(0);
}
