// SPDX-License-Identifier: MIT
//
// cloister-listener: one generation. It holds the sockets, forks a cell for each connection, and never reads
// what a client sent. From install_filter on nothing is allocated, mapped, opened or executed.
#include "base/descriptors.h"
#include "base/die.h"
#include "base/signals.h"
#include "base/tracing.h"
#include "confine/confine.h"
#include "control/content.h"
#include "control/launch.h"
#include "listener/memory.h"
#include "listener/server.h"
#include "listener/setup_dry_run.h"
#include "listener/speculation.h"
#include "syscall/calls.h"

#include <cerrno>
#include <csignal>
#include <fcntl.h>
#include <new>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

namespace cloister::listener {
namespace {

void expect_started_by_cloisterd(int argc) {
    int type = 0;
    socklen_t length = sizeof type;
    if (argc != 2 || getsockopt(control::control_fd, SOL_SOCKET, SO_TYPE, &type, &length) != 0 ||
        type != SOCK_SEQPACKET) {
        die(ExitCode::Usage, "this program is started by cloisterd, not by hand; see cloisterd --help");
    }
}

int open_proc(const char* path) {
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        die(ExitCode::SystemCall, "cannot open %s: %s; mount /proc", path, error_text(errno));
    }
    return fd;
}

void move_fd(int from, int to) {
    if (from != to && (dup3(from, to, O_CLOEXEC) != to || close(from) != 0)) {
        die(ExitCode::SystemCall, "cannot move descriptor %d to %d: dup3: %s", from, to, error_text(errno));
    }
}

void open_signals() {
    const std::uint64_t blocked = blocked_signals();
    sigset_t set;
    sigemptyset(&set);
    for (int signal = 1; signal < NSIG; ++signal) {
        if ((blocked >> (signal - 1) & 1U) != 0) {
            sigaddset(&set, signal);
        }
    }
    const int fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (fd <= control::connection_fd) { // which is taken: it can't be a new one
        die(ExitCode::SystemCall, "signalfd: %s", error_text(errno));
    }
    move_fd(fd, control::signal_fd);
}

/// Says what we are and where our memory and our instructions lie; gets the launch configuration, whose
/// program is proved for these places, and the content, if our handler has any.
struct Launched {
    const control::Launch& launch;
    control::SharedState& state;
    unsigned sources;
};
Launched ask_for_launch(const cell::Arena* arena) {
    control::Message message{};
    message.tag = control::Message::Tag::Hello;
    message.arena = arena;
    message.call_sites = cell::call_sites();
    message.build = control::own_build();
    message.conversation = control::cloister_conversation;
    message.content_room = control::content_room();
    control::Descriptors passed;
    if (!control::send_message(control::control_fd, message)) {
        die(ExitCode::SystemCall, "cannot ask cloisterd for our launch configuration: sendmsg: %s",
            error_text(errno));
    }
    if (!control::receive_message(control::control_fd, message, &passed)) {
        die(ExitCode::SystemCall, "no launch configuration from cloisterd: recvmsg: %s", error_text(errno));
    }
    if (message.tag != control::Message::Tag::Launch) {
        bug("no launch configuration from cloisterd, but another message");
    }
    const auto& [sealed, shared, content] = passed;
    const control::Launch& launch = control::open_sealed(sealed.get(), arena, cell::call_sites());
    unsigned sources = 0;
    control::SharedState& state = control::open_shared_state(shared.get(), sources);
    map_content(content.get(), launch.content_size);
    return {launch, state, sources};
}

/// Only the descriptors of the launch configuration stay open.
void close_the_rest(const control::Launch& launch) {
    const int last = control::first_socket_fd + static_cast<int>(launch.socket_count) - 1;
    if (last + 1 < control::status_fd) {
        close_descriptors(control::control_fd, last + 1, control::status_fd - 1);
    }
    close_descriptors(control::control_fd, control::status_fd + 1);
    close(control::connection_fd); // free from here on: accept4 returns the lowest
    struct stat status {};
    for (int fd = control::self_test_fd; fd <= last; ++fd) {
        if (fstat(fd, &status) != 0 || !S_ISSOCK(status.st_mode)) {
            bug("descriptor %d is not a listening socket", fd);
        }
    }
}

alignas(Server) std::byte server_memory[sizeof(Server)];

int run(int argc) {
    const int dumpable_at_start = dumpable();
    confine::forbid_dumping(); // first: processes of our user shall have no time to take us over
    expect_untraceable_start(dumpable_at_start);
    expect_started_by_cloisterd(argc);
    reset_signals(blocked_signals());
    prctl(PR_SET_NAME, "cloister-listen"); // the kernel keeps 15 characters
    char directory[sizeof "/"];
    if (chdir("/") != 0) {
        die(ExitCode::SystemCall, "cannot go to /: chdir: %s", error_text(errno));
    }
    if (getcwd(directory, sizeof directory) == nullptr) { // or it is longer than that: we are elsewhere
        die(ExitCode::SystemCall, "cannot go to /: chdir says that it did, getcwd: %s", error_text(errno));
    }
    const pid_t supervisor = getppid();
    const cell::Arena* const arena = map_arena();
    const auto [launch, state, sources] = ask_for_launch(arena);
    auto& server = *new (server_memory) Server{launch, state, sources, supervisor};
    log_fatal_errors_to(server.log());
    open_signals();

    control::Message armed{};
    armed.tag = control::Message::Tag::Armed;
    armed.bounding_empty = confine::empty_bounding_set() ? 1 : 0;
    (void)confine::become(launch.uid, launch.gid);
    confine::drop_all_capabilities();
    move_fd(open_proc("/proc/self/status"), control::status_fd); // the last things that are opened
    const int smaps = open_proc("/proc/self/smaps");
    confine::forbid_dumping();
    confine::die_with_parent(supervisor);
    confine::forbid_new_privileges();
    armed.landlock_abi = confine::deny_by_landlock();
    armed.speculation = limit_speculation();
    expect_no_rseq();
    dry_run_setup(launch.parameters);
    unmap_vdso(smaps);
    const Kept kept{arena, launch.content_size};
    hide_from_cells(kept, smaps);
    verify_hidden(kept, smaps);
    close_the_rest(launch);
    confine::limit_resources(control::status_fd + 1);
    confine::Expected expected{launch.uid, launch.gid, armed.bounding_empty != 0, launch.groups_empty, false};
    confine::verify(expected, control::status_fd);
    confine::install_filter({launch.filter, launch.filter_length});

    expected.filtered = true;
    confine::verify(expected, control::status_fd);
    sys::close(control::status_fd);
    armed.setup_ns = run_negative_self_tests(launch);
    if (sys::write(control::control_fd, &armed, sizeof armed) != static_cast<long>(sizeof armed)) {
        die(ExitCode::SelfTest, "cloisterd does not listen to us");
    }
    server.serve();
    sys::exit_group(static_cast<int>(ExitCode::Ok));
}

} // namespace
} // namespace cloister::listener

int main(int argc, char**) {
    return cloister::listener::run(argc);
}
