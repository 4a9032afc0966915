// SPDX-License-Identifier: MIT
//
// A listener that does what none should while it starts. Which of these is said by the name of the unix
// socket that it is given.
#include "control/launch.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <string>
#include <string_view>
#include <sys/prctl.h>
#include <sys/un.h>
#include <unistd.h>
#include <vector>

namespace cloister::hostile {
namespace {

using control::Message;

void say(std::string_view text) {
    (void)!write(control::log_fd, text.data(), text.size());
}

[[noreturn]] void live_on() {
    for (;;) {
        pause();
    }
}

void send_bytes(const Message& message, std::size_t size) {
    std::vector<char> bytes(std::max(size, sizeof message));
    std::memcpy(bytes.data(), &message, sizeof message);
    (void)send(control::control_fd, bytes.data(), size, MSG_NOSIGNAL);
}

Message tagged(Message::Tag tag) {
    Message message{};
    message.tag = tag;
    return message;
}

/// A TCP socket whose last close(2) takes a minute: it has a byte that its peer does not take.
int make_lingering_socket() {
    const int listening = socket(AF_INET, SOCK_STREAM, 0);
    const int client = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_storage address{};
    socklen_t length = sizeof address;
    const linger minute{1, 60};
    const std::vector<char> bytes(std::size_t{8} << 20);
    if (listen(listening, 1) != 0 ||
        getsockname(listening, reinterpret_cast<sockaddr*>(&address), &length) != 0 ||
        connect(client, reinterpret_cast<sockaddr*>(&address), length) != 0 ||
        setsockopt(client, SOL_SOCKET, SO_LINGER, &minute, sizeof minute) != 0 ||
        send(client, bytes.data(), bytes.size(), MSG_DONTWAIT) <= 0) {
        say("no socket that lingers\n");
    }
    return client;
}

void send_two_descriptors(const Message& message) {
    const int passed[]{make_lingering_socket(), STDERR_FILENO};
    iovec part{const_cast<Message*>(&message), sizeof message};
    alignas(cmsghdr) char rights[CMSG_SPACE(sizeof passed)] = {};
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    header.msg_control = rights;
    header.msg_controllen = sizeof rights;
    cmsghdr* const control = CMSG_FIRSTHDR(&header);
    control->cmsg_level = SOL_SOCKET;
    control->cmsg_type = SCM_RIGHTS;
    control->cmsg_len = CMSG_LEN(sizeof passed);
    std::memcpy(CMSG_DATA(control), passed, sizeof passed);
    say(sendmsg(control::control_fd, &header, MSG_NOSIGNAL) < 0 && errno == EPERM ? "descriptors not taken\n"
                                                                                  : "descriptors taken\n");
    _exit(1); // which, unlike close(2), does not linger
}

[[noreturn]] void misbehave(std::string_view action) {
    static constexpr std::uint8_t code[3 * arch::max_page_size]{}; // places that a policy can be bound to
    Message hello = tagged(Message::Tag::Hello);
    hello.build = control::own_build();
    hello.arena = reinterpret_cast<const cell::Arena*>(code + arch::max_page_size);
    hello.call_sites = {&code[0], &code[arch::max_page_size], &code[2 * arch::max_page_size]};
    if (action == "closes-its-socket") {
        close(control::control_fd);
    } else if (action == "says-hello-and-closes") {
        send_bytes(hello, sizeof hello);
        close(control::control_fd);
    } else if (action == "ends") {
        _exit(0);
    } else if (action == "ends-with-77") {
        _exit(77);
    } else if (action == "ends-with-1") {
        _exit(1);
    } else if (action == "crashes") {
        abort();
    } else if (action == "sends-nothing-at-all") {
        send_bytes(hello, 0);
    } else if (action == "sends-too-much") {
        send_bytes(hello, sizeof hello + 1);
    } else if (action == "sends-too-little") {
        send_bytes(hello, sizeof hello - 1);
    } else if (action == "sends-nonsense") {
        send_bytes(tagged(Message::Tag{4711}), sizeof hello);
    } else if (action == "is-of-another-version") {
        hello.build.version[0] = '9';
        send_bytes(hello, sizeof hello);
    } else if (action == "is-armed-too-early") {
        send_bytes(tagged(Message::Tag::Armed), sizeof hello);
    } else if (action == "floods") {
        for (;;) {
            send_bytes(hello, sizeof hello);
        }
    } else if (action == "passes-two-descriptors") {
        send_two_descriptors(hello);
    } else if (action == "leaves-a-child-behind") {
        if (fork() == 0) {
            char byte = 0;
            (void)!read(control::control_fd, &byte, 1); // until cloisterd closes its end
            _exit(0);
        }
        _exit(77);
    } else if (action == "says-hello-and-is-silent") {
        send_bytes(hello, sizeof hello);
    } else if (action == "says-hello-twice") {
        send_bytes(hello, sizeof hello);
        send_bytes(hello, sizeof hello);
    } else if (action == "is-armed-and-silent" || action == "is-armed-twice") {
        send_bytes(hello, sizeof hello);
        Message launch{};
        control::Descriptors passed;
        (void)control::receive_message(control::control_fd, launch, &passed);
        send_bytes(tagged(Message::Tag::Armed), sizeof hello);
        if (action == "is-armed-twice") {
            send_bytes(tagged(Message::Tag::Armed), sizeof hello);
        }
    } else if (action == "stops") {
        (void)raise(SIGSTOP);
    } else if (action != "is-silent") {
        say("no such action\n");
    }
    live_on();
}

/// It is the real listener until the test listens on an abstract socket of that name: Landlock leaves nothing
/// else to tell it by.
void behave_at_first(char** argv) {
    const std::string name = "cloister-later-" + std::to_string(getppid());
    sockaddr_un address{AF_UNIX, {}};
    name.copy(&address.sun_path[1], name.size());
    const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
    const int test = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const bool later = connect(test, reinterpret_cast<const sockaddr*>(&address), length) == 0;
    close(test);
    if (!later) {
        const auto own = std::filesystem::read_symlink("/proc/self/exe").parent_path();
        execve((own / "real-listener").c_str(), argv, environ);
        say("no real listener\n");
    }
}

} // namespace
} // namespace cloister::hostile

int main(int /*argc*/, char** argv) {
    prctl(PR_SET_NAME, "cloister-listen"); // as the tests know a listener
    sockaddr_un address{};
    socklen_t length = sizeof address - 1;
    (void)getsockname(cloister::control::first_socket_fd, reinterpret_cast<sockaddr*>(&address), &length);
    std::string_view name = address.sun_path;
    name.remove_prefix(std::min(name.rfind('/') + 1, name.size()));
    if (constexpr std::string_view later = "later-"; name.starts_with(later)) {
        cloister::hostile::behave_at_first(argv);
        name.remove_prefix(later.size());
    }
    cloister::hostile::misbehave(name);
}
