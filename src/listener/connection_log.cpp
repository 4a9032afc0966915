// SPDX-License-Identifier: MIT
//
// The server's account of a connection: one record at its end.
#include "base/die.h"
#include "cell/cell.h"
#include "listener/exit_reason.h"
#include "listener/server.h"
#include "syscall/calls.h"

#include <arpa/inet.h>
#include <cstdio>
#include <cstring>
#include <netinet/in.h>
#include <sys/wait.h>

namespace cloister::listener {
namespace {

constexpr std::uint64_t failed_setups_limit = 32;

std::int64_t micros(const timeval& time) {
    return time.tv_sec * 1'000'000 + time.tv_usec;
}

} // namespace

PeerText::PeerText(const Peer& peer) {
    char address[INET6_ADDRSTRLEN] = "?";
    if (peer.family == AF_INET) {
        inet_ntop(AF_INET, peer.address, address, sizeof address);
        (void)std::snprintf(text, sizeof text, "%s:%u", address, peer.port);
    } else if (peer.family == AF_INET6 && peer.scope == 0) {
        inet_ntop(AF_INET6, peer.address, address, sizeof address);
        (void)std::snprintf(text, sizeof text, "[%s]:%u", address, peer.port);
    } else if (peer.family == AF_INET6) {
        inet_ntop(AF_INET6, peer.address, address, sizeof address);
        (void)std::snprintf(text, sizeof text, "[%s%%%u]:%u", address, peer.scope, peer.port);
    } else {
        (void)std::snprintf(text, sizeof text, "unix:uid=%u,pid=%d", peer.uid, peer.pid);
    }
}

void Server::count_failed_setup(ExitReason reason) {
    failed_setups_ = is_failed_setup(reason) ? failed_setups_ + 1 : 0;
    if (failed_setups_ >= failed_setups_limit) {
        die(ExitCode::SelfTest, "%lu cells in a row could not be confined, the last one at %.*s",
            failed_setups_, static_cast<int>(text_of(reason).name.size()), text_of(reason).name.data());
    }
}

void Server::log_connection(const Cell& cell, int status, const rusage& usage) {
    const ExitReason reason = reason_of(cell, status);
    const ExitReasonText& ended_by = text_of(reason);
    const PeerText peer{cell.peer};
    count_failed_setup(reason);
    admission_.end(cell.ticket);
    if (is_supervisor(cell.socket, cell.peer)) {
        if (cell.socket < control::max_listening_sockets) { // not the self-test's own
            tried_ |= std::uint64_t{1} << cell.socket;      // another client may come from that port one day
        }
        if (ended_by.level == Level::info || ended_by.level == Level::debug) {
            return;
        }
    }
    admission_.counters().ends[static_cast<std::size_t>(reason)].fetch_add(1, std::memory_order_relaxed);
    if (reason == ExitReason::Violation) {
        Record violation = record(Level::error, "violation");
        violation.number("conn", static_cast<std::int64_t>(cell.connection)).number("pid", cell.pid);
        violation.text("socket", launch_.sockets[cell.socket].name()).text("peer", peer.text);
        log(violation);
    }
    Record ended = record(ended_by.level, "connection");
    ended.number("conn", static_cast<std::int64_t>(cell.connection)).number("pid", cell.pid);
    ended.text("socket", launch_.sockets[cell.socket].name()).text("peer", peer.text);
    ended.time("start", cell.started_ns + realtime_offset_ns_);
    ended.number("duration_ms", (now_ns_ - cell.started_ns) / 1'000'000).text("reason", ended_by.name);
    if (WIFEXITED(status)) {
        ended.number("exit", WEXITSTATUS(status)).none("signal");
    } else {
        ended.none("exit").number("signal", WTERMSIG(status));
    }
    ended.number("cpu_us", micros(usage.ru_utime) + micros(usage.ru_stime))
        .number("maxrss_kb", usage.ru_maxrss);
    log(ended);
    log_penalty(admission_.judge(cell.ticket, reason, static_cast<std::uint64_t>(now_ns_)));
}

/// A cell that ends as idle, and sooner than that, has had a client that said nothing (cell::Exit::Idle).
ExitReason Server::reason_of(const Cell& cell, int status) const {
    constexpr std::int64_t second_ns = 1'000'000'000, micro_ns = 1000;
    const ExitReason reason = exit_reason_of(status, cell.ended_by_us);
    const bool early =
        now_ns_ - cell.started_ns < launch_.idle.tv_sec * second_ns + launch_.idle.tv_usec * micro_ns;
    return reason == ExitReason::Idle && early ? ExitReason::Probe : reason;
}

/// The self-test, or the supervisor's own connection to a public socket; it told us from where.
bool Server::is_supervisor(std::uint32_t socket, const Peer& peer) const {
    if (peer.family == AF_UNIX) {
        return peer.pid == supervisor_ || socket == control::self_test_socket;
    }
    const sockaddr_storage& own = launch_.sockets[socket].own_client;
    if (own.ss_family != peer.family || (tried_ >> socket & 1U) != 0) {
        return false;
    }
    if (peer.family == AF_INET) {
        const auto& in = reinterpret_cast<const sockaddr_in&>(own);
        return ntohs(in.sin_port) == peer.port &&
               std::memcmp(&in.sin_addr, peer.address, sizeof in.sin_addr) == 0;
    }
    const auto& in6 = reinterpret_cast<const sockaddr_in6&>(own);
    return ntohs(in6.sin6_port) == peer.port &&
           std::memcmp(&in6.sin6_addr, peer.address, sizeof in6.sin6_addr) == 0;
}

} // namespace cloister::listener
