// SPDX-License-Identifier: MIT
// SYN packets of handshakes that nobody completes.
#include "load.h"

#include <algorithm>
#include <arpa/inet.h>
#include <array>
#include <cstring>
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <span>
#include <thread>

namespace cloister::bench {

namespace {

using namespace std::chrono_literals;

/// The Internet checksum (RFC 1071) of 16-bit words, of which one may be its own field with 0.
std::uint16_t checksum(std::span<const std::uint16_t> words) {
    std::uint32_t sum = 0;
    for (const std::uint16_t word : words) {
        sum += word;
    }
    sum = (sum & 0xffff) + (sum >> 16);
    return static_cast<std::uint16_t>(~(sum + (sum >> 16)));
}

struct Packet {
    iphdr ip;
    tcphdr tcp;
};

/// RFC 9293, 3.1: the checksum of TCP covers the addresses, the protocol and the length, too.
std::uint16_t tcp_checksum(const Packet& packet) {
    struct {
        std::uint32_t source, destination;
        std::uint16_t protocol, length;
        tcphdr tcp;
    } const covered{packet.ip.saddr, packet.ip.daddr, htons(IPPROTO_TCP), htons(sizeof packet.tcp),
                    packet.tcp};
    std::array<std::uint16_t, sizeof covered / 2> words;
    std::memcpy(words.data(), &covered, sizeof covered);
    return checksum(words);
}

Packet syn(const Options& options, std::uint64_t number) {
    sockaddr_in target{};
    std::memcpy(&target, &options.target.address, sizeof target);
    Packet packet{};
    packet.ip.version = 4;
    packet.ip.ihl = sizeof packet.ip / 4;
    packet.ip.ttl = 64;
    packet.ip.protocol = IPPROTO_TCP;
    packet.ip.saddr = htonl(options.sources.at(number)); // the kernel fills in length and checksum: raw(7)
    packet.ip.daddr = target.sin_addr.s_addr;
    packet.tcp.source = htons(static_cast<std::uint16_t>(1024 + number / options.sources.count % 64000));
    packet.tcp.dest = target.sin_port;
    packet.tcp.seq = htonl(static_cast<std::uint32_t>(number * 2654435761U));
    packet.tcp.doff = sizeof packet.tcp / 4;
    packet.tcp.syn = 1;
    packet.tcp.window = htons(65535);
    packet.tcp.check = tcp_checksum(packet);
    return packet;
}

} // namespace

int run_syn(const Options& options) {
    const Fd fd{::socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW)};
    if (!fd.valid()) {
        fmt::print(stderr, "cloister-load: syn: a raw socket: {}\n", std::strerror(errno));
        return 1;
    }
    stop_on_sigterm();
    const Clock::time_point begun = Clock::now();
    std::uint64_t sent = 0;
    std::uint64_t failed = 0;
    for (std::uint64_t number = 0; !stopped() && Clock::now() < begun + options.duration;) {
        const auto due = static_cast<std::uint64_t>(seconds(Clock::now() - begun) * options.rate);
        for (; number < due; ++number) {
            const Packet packet = syn(options, number);
            const auto n =
                ::sendto(fd.get(), &packet, sizeof packet, 0,
                         reinterpret_cast<const sockaddr*>(&options.target.address), options.target.length);
            ++(n == sizeof packet ? sent : failed);
        }
        std::this_thread::sleep_for(1ms);
    }
    const double spent = seconds(Clock::now() - begun);
    print_line(fmt::format(
        "{{\"mode\":\"syn\",\"target\":\"{}\",\"seconds\":{:.3f},\"attempts\":{},\"per_second\":{:.1f},"
        "\"failed\":{}}}",
        options.target.text, spent, sent, static_cast<double>(sent) / spent, failed));
    return 0;
}

} // namespace cloister::bench
