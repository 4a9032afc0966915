// SPDX-License-Identifier: MIT
#include "control/plan.h"

#include "base/die.h"
#include "base/memory_file.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

namespace cloister::plan {
namespace {

constexpr char magic[8] = {'c', 'l', 'o', 'i', 's', 't', 'e', 'r'};
constexpr std::uint32_t version = 4;
constexpr int all_seals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;

template <typename T, std::size_t N>
bool in_bounds(std::uint32_t length, const T (&)[N]) {
    return length >= 1 && length <= N;
}

constexpr std::size_t most_passed = 253; // SCM_MAX_FD, include/net/scm.h

/// Takes the first descriptor that came with a message, closes the others, and counts these and whatever else
/// came.
std::size_t take_descriptors(msghdr& header, Fd& first) {
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
            if (first.valid()) {
                ++others;
            } else {
                first = std::move(passed);
            }
        }
    }
    return others;
}

/// Of the listeners that there are.
bool names_in_bounds(const Plan& plan) {
    return std::all_of(plan.listeners, plan.listeners + plan.listener_count, [](const Listener& listener) {
        return in_bounds(listener.name_length, listener.name_bytes);
    });
}

bool is_sealed(int fd) {
    const int seals = fcntl(fd, F_GET_SEALS); // -1 has all bits; the kernel may have added F_SEAL_EXEC
    return seals >= 0 && (seals & all_seals) == all_seals;
}

} // namespace

void prepare(Plan& plan) {
    std::memset(static_cast<void*>(&plan), 0, sizeof plan);
    std::memcpy(plan.magic, magic, sizeof magic);
    plan.version = version;
    plan.size = sizeof plan;
}

Fd seal(const Plan& plan) {
    Fd fd = create_memory_file("cloister-plan", MFD_ALLOW_SEALING);
    if (!fd.valid()) {
        die(ExitCode::SystemCall, "cannot make the listener's plan: memfd_create: %s", error_text(errno));
    }
    if (write(fd.get(), &plan, sizeof plan) != static_cast<ssize_t>(sizeof plan)) {
        die(ExitCode::SystemCall, "cannot write the listener's plan: write: %s", error_text(errno));
    }
    if (fcntl(fd.get(), F_ADD_SEALS, all_seals) != 0 || !is_sealed(fd.get())) {
        die(ExitCode::SystemCall, "cannot seal the listener's plan: F_ADD_SEALS: %s", error_text(errno));
    }
    return fd;
}

const Plan& open_sealed(int fd, const cell::Arena* arena, const cell::Instructions& instructions) {
    struct stat status {};
    if (!is_sealed(fd)) {
        bug("the plan is not sealed");
    }
    if (fstat(fd, &status) != 0 || status.st_size != static_cast<off_t>(sizeof(Plan))) {
        bug("the plan has %lld bytes, not %zu: cloisterd and cloister-listener are of different builds",
            static_cast<long long>(status.st_size), sizeof(Plan));
    }
    const void* const mapped = mmap(nullptr, sizeof(Plan), PROT_READ, MAP_SHARED, fd, 0);
    if (mapped == MAP_FAILED) {
        die(ExitCode::SystemCall, "cannot map the plan: mmap: %s", error_text(errno));
    }
    const auto& plan = *static_cast<const Plan*>(mapped);
    if (std::memcmp(plan.magic, magic, sizeof magic) != 0 || plan.version != version ||
        plan.size != sizeof(Plan)) {
        bug("the plan has version %u, not %u: cloisterd and cloister-listener are of different builds",
            plan.version, version);
    }
    if (plan.arena != arena || !in_bounds(plan.filter_length, plan.filter) ||
        !in_bounds(plan.listener_count, plan.listeners) || plan.max_connections < 1 ||
        plan.max_connections > connection_limit || plan.orders.listener != getpid() ||
        plan.orders.duty != cell::Duty::Serve || !names_in_bounds(plan)) {
        bug("the plan is not for this listener, or out of range");
    }
    const cell::Instructions& told = plan.instructions;
    if (told.gate != instructions.gate || told.door != instructions.door ||
        told.ladder != instructions.ladder) {
        bug("the plan speaks of other instructions than ours");
    }
    return plan;
}

bool send_message(int socket, const Message& message, int fd) {
    iovec part{const_cast<Message*>(&message), sizeof message};
    alignas(cmsghdr) char rights[CMSG_SPACE(sizeof(int))] = {};
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    if (fd >= 0) {
        header.msg_control = rights;
        header.msg_controllen = sizeof rights;
        cmsghdr* const control = CMSG_FIRSTHDR(&header);
        control->cmsg_level = SOL_SOCKET;
        control->cmsg_type = SCM_RIGHTS;
        control->cmsg_len = CMSG_LEN(sizeof fd);
        std::memcpy(CMSG_DATA(control), &fd, sizeof fd);
    }
    return sendmsg(socket, &header, MSG_NOSIGNAL) == static_cast<ssize_t>(sizeof message);
}

bool receive_message(int socket, Message& message, Fd* fd) {
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
    Fd passed;
    const std::size_t others = take_descriptors(header, passed);
    const bool whole = received == static_cast<ssize_t>(sizeof message) &&
                       (header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) == 0;
    if (!whole || others != 0 || (passed.valid() && fd == nullptr)) {
        errno = received == 0 && others == 0 && !passed.valid() ? 0 : EPROTO;
        return false;
    }
    if (fd != nullptr) {
        *fd = std::move(passed);
    }
    return true;
}

} // namespace cloister::plan
