// SPDX-License-Identifier: MIT
#include "control/launch.h"

#include "base/die.h"
#include "base/memory_file.h"
#include "control/content.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <tuple>

namespace cloister::control {
namespace {

constexpr char magic[8] = {'c', 'l', 'o', 'i', 's', 't', 'e', 'r'};
constexpr std::uint32_t version = 8;
constexpr int size_seals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW;
constexpr int all_seals = size_seals | F_SEAL_WRITE;
constexpr int live_seals = size_seals | F_SEAL_FUTURE_WRITE; // since Linux 5.1

bool has_seals(int fd, int seals) {
    const int is = fcntl(fd, F_GET_SEALS); // -1 has all bits; the kernel may have added F_SEAL_EXEC
    return is >= 0 && (is & seals) == seals;
}

template <typename T, std::size_t N>
bool in_bounds(std::uint32_t length, const T (&)[N]) {
    return length >= 1 && length <= N;
}

constexpr std::size_t most_passed = 253; // SCM_MAX_FD, include/net/scm.h

/// Takes the first descriptors that came with a message, closes the others, and counts these and whatever
/// else came.
std::size_t take_descriptors(msghdr& header, Descriptors& taken) {
    auto* next = taken.begin();
    std::size_t others = 0;
    for (cmsghdr* part = CMSG_FIRSTHDR(&header); part != nullptr; part = CMSG_NXTHDR(&header, part)) {
        if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) {
            ++others;
            continue;
        }
        for (std::size_t at = CMSG_LEN(0); at + sizeof(int) <= part->cmsg_len; at += sizeof(int)) {
            int number = -1;
            std::memcpy(&number, reinterpret_cast<const char*>(part) + at, sizeof number);
            Fd passed{number};
            if (next == taken.end()) {
                ++others;
            } else {
                *next++ = std::move(passed);
            }
        }
    }
    return others;
}

/// Of the listeners that there are.
bool names_in_bounds(const Launch& launch) {
    const auto in_bounds_of = [](const ListeningSocket& socket) {
        return in_bounds(socket.name_length, socket.name_bytes);
    };
    return std::all_of(launch.sockets, launch.sockets + launch.socket_count, in_bounds_of) &&
           in_bounds_of(launch.sockets[self_test_socket]);
}

bool in_bounds(const Admission& admission, std::uint32_t max_connections) {
    const auto sound = [](const Rate& rate) { return rate.burst >= 1; };
    return admission.max_per_source >= 1 && admission.max_per_network >= 1 && sound(admission.source_rate) &&
           sound(admission.network_rate) && admission.source_ipv4 <= ipv4_bits &&
           admission.source_ipv6 <= ipv6_bits && admission.network_ipv4 <= ipv4_bits &&
           admission.network_ipv6 <= ipv6_bits && admission.reserved < max_connections &&
           admission.exempt_count <= max_exempt;
}

} // namespace

bool is_sealed(int fd) {
    return has_seals(fd, all_seals);
}

bool seal_for_others(int fd) {
    return fcntl(fd, F_ADD_SEALS, live_seals) == 0 && is_sealed_for_others(fd);
}

bool is_sealed_for_others(int fd) {
    return has_seals(fd, live_seals);
}

bool seal(int fd) {
    return fcntl(fd, F_ADD_SEALS, all_seals) == 0 && is_sealed(fd);
}

Build own_build() {
    Build build{};
    constexpr char release[] = CLOISTER_VERSION;
    static_assert(sizeof release <= sizeof build.version);
    std::memcpy(build.version, release, sizeof release);
    build.contract = static_cast<std::uint32_t>(version * std::size_t{1'000'000} + sizeof(Launch) * 16 +
                                                sizeof(cell::Arena));
    return build;
}

std::string_view Build::name() const {
    const std::string_view whole{version, strnlen(version, sizeof version)};
    return std::all_of(whole.begin(), whole.end(), [](char c) { return c > ' ' && c <= '~'; }) ? whole : "?";
}

void prepare(Launch& launch) {
    std::memset(static_cast<void*>(&launch), 0, sizeof launch);
    std::memcpy(launch.magic, magic, sizeof magic);
    launch.version = version;
    launch.size = sizeof launch;
    launch.admission.max_per_source = launch.admission.max_per_network = connection_limit;
    launch.admission.source_rate.burst = launch.admission.network_rate.burst = 1;
    launch.sockets[self_test_socket].family = AF_UNIX;
    launch.sockets[self_test_socket].set_name("self-test");
}

tl::expected<Fd, const char*> seal(const Launch& launch) {
    Fd fd = create_memory_file("cloister-launch", MFD_ALLOW_SEALING);
    if (!fd.valid()) {
        return tl::unexpected<const char*>("memfd_create");
    }
    errno = EFBIG; // a short write is what RLIMIT_FSIZE gives before it gives an error
    if (write(fd.get(), &launch, sizeof launch) != static_cast<ssize_t>(sizeof launch)) {
        return tl::unexpected<const char*>("write");
    }
    if (!seal(fd.get())) {
        return tl::unexpected<const char*>("F_ADD_SEALS");
    }
    return fd;
}

const Launch& open_sealed(int fd, const cell::Arena* arena, const cell::CallSites& call_sites) {
    struct stat status {};
    if (!is_sealed(fd)) {
        bug("the launch configuration is not sealed");
    }
    if (fstat(fd, &status) != 0 || status.st_size != static_cast<off_t>(sizeof(Launch))) {
        bug("the launch configuration has %lld bytes, not %zu: cloisterd and cloister-listener are of "
            "different builds",
            static_cast<long long>(status.st_size), sizeof(Launch));
    }
    const void* const mapped = mmap(nullptr, sizeof(Launch), PROT_READ, MAP_SHARED, fd, 0);
    if (mapped == MAP_FAILED) {
        die(ExitCode::SystemCall, "cannot map the launch configuration: mmap: %s", error_text(errno));
    }
    const auto& launch = *static_cast<const Launch*>(mapped);
    if (std::memcmp(launch.magic, magic, sizeof magic) != 0 || launch.version != version ||
        launch.size != sizeof(Launch)) {
        bug("the launch configuration has version %u, not %u: cloisterd and cloister-listener are of "
            "different builds",
            launch.version, version);
    }
    if (launch.arena != arena || !in_bounds(launch.filter_length, launch.filter) ||
        !in_bounds(launch.socket_count, launch.sockets) || launch.max_connections < 1 ||
        launch.max_connections > connection_limit || launch.content_size > sizeof(Content) + max_content ||
        launch.row >= max_rows || launch.parameters.listener != getpid() ||
        launch.parameters.mode != cell::Mode::Serve || !names_in_bounds(launch) ||
        !in_bounds(launch.admission, launch.max_connections)) {
        bug("the launch configuration is not for this listener, or out of range");
    }
    const cell::CallSites& told = launch.call_sites;
    if (told.listener != call_sites.listener || told.clone != call_sites.clone ||
        told.setup != call_sites.setup) {
        bug("the launch configuration is for other call sites than ours");
    }
    return launch;
}

bool send_message(int socket, const Message& message, std::initializer_list<int> descriptors) {
    iovec part{const_cast<Message*>(&message), sizeof message};
    int passed[std::tuple_size_v<Descriptors>] = {};
    std::size_t count = 0;
    for (const int fd : descriptors) {
        if (fd >= 0 && count < std::size(passed)) {
            passed[count++] = fd;
        }
    }
    alignas(cmsghdr) char rights[CMSG_SPACE(sizeof passed)] = {};
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    if (count != 0) {
        header.msg_control = rights;
        header.msg_controllen = CMSG_SPACE(count * sizeof(int));
        cmsghdr* const control = CMSG_FIRSTHDR(&header);
        control->cmsg_level = SOL_SOCKET;
        control->cmsg_type = SCM_RIGHTS;
        control->cmsg_len = CMSG_LEN(count * sizeof(int));
        std::memcpy(CMSG_DATA(control), passed, count * sizeof(int));
    }
    return sendmsg(socket, &header, MSG_NOSIGNAL) == static_cast<ssize_t>(sizeof message);
}

bool receive_message(int socket, Message& message, Descriptors* passed) {
    iovec part{&message, sizeof message};
    alignas(cmsghdr) char rights[CMSG_SPACE(most_passed * sizeof(int))] = {};
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    header.msg_control = rights;
    header.msg_controllen = sizeof rights;
    errno = 0;
    const ssize_t received = recvmsg(socket, &header, MSG_CMSG_CLOEXEC);
    if (received < 0) {
        return false;
    }
    Descriptors taken;
    const std::size_t others = take_descriptors(header, taken);
    const bool whole = received == static_cast<ssize_t>(sizeof message) &&
                       (header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) == 0;
    const bool brought = taken.front().valid();
    if (!whole || others != 0 || (brought && passed == nullptr)) {
        errno = received == 0 && others == 0 && !brought ? 0 : EPROTO;
        return false;
    }
    if (passed != nullptr) {
        *passed = std::move(taken);
    }
    return true;
}

} // namespace cloister::control
