/* SPDX-License-Identifier: MIT */
/* worker FILTER [--misbehave=WHAT]: a web server's process for one connection, which has one page.
 *
 * Descriptor 3 is the connection, a socket; descriptor 4 the page, a file. Each request that ends with an
 * empty line is answered with the page, until the client closes. FILTER is what `cloister policy bpf --raw
 * static-http.policy` has written. WHAT makes the process do, once it is confined, what somebody who has
 * taken it over would try. */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { CONNECTION = 3, PAGE = 4, REQUEST = 4096, CHUNK = 16384 };

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

/* Installed last: from here on only the calls of static-http.policy are made. */
static void install_filter(const struct sock_fprog* program) {
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        err(71, "no_new_privs");
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, program) != 0)
        err(71, "seccomp");
}

static int misbehave(const char* what) {
    static char code[4096];
    if (strcmp(what, "socket") == 0)
        return socket(AF_INET, SOCK_STREAM, 0);
    if (strcmp(what, "shell") == 0)
        return execl("/bin/sh", "sh", (char*)NULL);
    if (strcmp(what, "deface") == 0)
        return (int)pwrite(PAGE, "gone", 4, 0);
    if (strcmp(what, "code") == 0) /* machine code in memory that it can write */
        return mmap(code, sizeof code, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1,
                    0) == MAP_FAILED;
    return -1;
}

static void send_all(const char* data, size_t length) {
    while (length > 0) {
        const size_t piece = length < CHUNK ? length : CHUNK;
        const ssize_t sent = send(CONNECTION, data, piece, MSG_NOSIGNAL);
        if (sent <= 0)
            _exit(1);
        data += sent;
        length -= (size_t)sent;
    }
}

static void answer(off_t size) {
    static char piece[CHUNK];
    const int head = snprintf(piece, sizeof piece,
                              "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %lld\r\n\r\n",
                              (long long)size);
    send_all(piece, (size_t)head);
    for (off_t at = 0; at < size;) {
        const ssize_t got = pread(PAGE, piece, sizeof piece,
                                  at); /* leaves the offset alone, which other processes may share */
        if (got <= 0)
            _exit(1);
        send_all(piece, (size_t)got);
        at += got;
    }
}

static void serve(off_t size) {
    char request[REQUEST];
    size_t length = 0;
    for (;;) {
        const ssize_t got = recv(CONNECTION, request + length, sizeof request - length, 0);
        if (got <= 0) /* closed, or no room for more */
            _exit(got != 0);
        length += (size_t)got;
        const char* end;
        while ((end = memmem(request, length, "\r\n\r\n", 4)) != NULL) {
            answer(size);
            length -= (size_t)(end + 4 - request);
            memmove(request, end + 4, length);
        }
    }
}

int main(int argc, char** argv) {
    struct stat page;
    if (argc < 2 || argc > 3 || (argc == 3 && strncmp(argv[2], "--misbehave=", 12) != 0))
        errx(64, "usage: worker FILTER [--misbehave=socket|shell|deface|code]");
    if (fstat(PAGE, &page) != 0 || !S_ISREG(page.st_mode))
        errx(66, "descriptor 4 is no file");
    const struct sock_fprog program = read_filter(argv[1]);
    install_filter(&program);
    if (argc == 3 && misbehave(argv[2] + 12) < 0)
        _exit(1);
    serve(page.st_size);
}
