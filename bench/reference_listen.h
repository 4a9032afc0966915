// SPDX-License-Identifier: MIT
#pragma once

#include <arpa/inet.h>
#include <cstdio>
#include <cstdlib>
#include <netinet/in.h>
#include <sys/socket.h>

/// A listening socket on 127.0.0.1 for a reference server; the port is argv[1], or any free one. It is
/// printed, because bench/run starts these servers on port 0.
inline int listen_and_print_port(int argc, char** argv) {
    char* end = nullptr;
    const unsigned long port = argc > 1 ? std::strtoul(argv[1], &end, 10) : 0;
    if (argc > 2 || (end != nullptr && *end != '\0') || port > 65535) {
        std::fprintf(stderr, "usage: %s [PORT]   (0 or nothing: any free port; it is printed)\n", argv[0]);
        std::exit(64);
    }
    const int listener = socket(AF_INET, SOCK_STREAM, 0);
    const int on = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(static_cast<in_port_t>(port));
    socklen_t length = sizeof address;
    auto* const generic = reinterpret_cast<sockaddr*>(&address);
    if (bind(listener, generic, length) != 0 || listen(listener, 4096) != 0 ||
        getsockname(listener, generic, &length) != 0) {
        std::perror(argv[0]);
        std::exit(69);
    }
    std::printf("%u\n", ntohs(address.sin_port));
    std::fflush(stdout);
    return listener;
}
