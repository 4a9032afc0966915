// SPDX-License-Identifier: MIT
#include "supervisor/handover.h"

#include "base/die.h"
#include "base/memory_file.h"
#include "control/launch.h"

#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

namespace cloister::supervisor {
namespace {

constexpr off_t largest = 1 << 22;

std::string hex(std::string_view text) {
    std::string digits = "x";
    for (const char c : text) {
        digits += fmt::format("{:02x}", static_cast<unsigned char>(c));
    }
    return digits;
}

std::string line_of(const char* word, const Handover::Socket& socket) {
    return fmt::format("{} {} {:d} {:d} {} {} {} {} {}\n", word, socket.fd, socket.is_unix, socket.activated,
                       hex(socket.requested), socket.directory, hex(socket.file), socket.device,
                       socket.inode);
}

/// The words of one line.
class Line {
  public:
    explicit Line(std::string_view text) : rest_{text} {}

    [[nodiscard]] bool failed() const { return failed_; }

    std::string_view word() {
        const auto end = std::min(rest_.find(' '), rest_.size());
        const auto found = rest_.substr(0, end);
        rest_.remove_prefix(std::min(end + 1, rest_.size()));
        failed_ = failed_ || found.empty();
        return found;
    }
    template <class Number>
    Number number() {
        const auto digits = word();
        Number value{};
        const auto [stop, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
        failed_ = failed_ || error != std::errc{} || stop != digits.data() + digits.size();
        return value;
    }
    bool flag() { return number<int>() == 1; }
    std::string text() {
        const auto digits = word();
        std::string value;
        failed_ = failed_ || digits.size() % 2 != 1 || digits[0] != 'x';
        for (std::size_t i = 1; !failed_ && i < digits.size(); i += 2) {
            unsigned byte = 0;
            const auto [stop, error] = std::from_chars(&digits[i], &digits[i] + 2, byte, 16);
            failed_ = failed_ || error != std::errc{} || stop != &digits[i] + 2;
            value += static_cast<char>(byte);
        }
        return value;
    }

  private:
    std::string_view rest_;
    bool failed_ = false;
};

Handover::Socket read_socket(Line& line) {
    Handover::Socket socket;
    socket.fd = line.number<int>();
    socket.is_unix = line.flag();
    socket.activated = line.flag();
    socket.requested = line.text();
    socket.directory = line.number<int>();
    socket.file = line.text();
    socket.device = line.number<std::uint64_t>();
    socket.inode = line.number<std::uint64_t>();
    return socket;
}

/// False if the line is not as it must be.
bool take(Handover& state, std::string_view word, Line& line) {
    if (word == "process") {
        state.pid = line.number<pid_t>();
        state.release = line.text();
        state.started_ns = line.number<std::uint64_t>();
        state.reloads = line.number<std::uint64_t>();
    } else if (word == "reload_failures") {
        state.reload_failures = line.number<std::uint64_t>();
    } else if (word == "privileges") {
        state.bounding_empty = line.flag();
        state.groups_empty = line.flag();
        state.oom_score = line.number<int>();
    } else if (word == "relay") {
        state.relay = line.number<pid_t>();
    } else if (word == "pipe") {
        const int read_end = line.number<int>();
        state.pipes.push_back({read_end, line.number<int>()});
    } else if (word == "landlock") {
        state.file_access.landlock_abi = line.number<int>();
    } else if (word == "readable") {
        state.file_access.readable.push_back(line.text());
    } else if (word == "executable") {
        state.file_access.executable.push_back(line.text());
    } else if (word == "bindable") {
        state.file_access.bindable.push_back(line.text());
    } else if (word == "control") {
        state.control = read_socket(line);
    } else if (word == "service") {
        Handover::Service& service = state.services.emplace_back();
        service.name = line.text();
        service.listener = line.number<unsigned>();
        service.log_slot = line.number<unsigned>();
        service.shared = line.number<int>();
    } else if (word == "socket" || word == "generation") {
        if (state.services.empty()) {
            return false;
        }
        Handover::Service& service = state.services.back();
        if (word == "socket") {
            service.sockets.push_back(read_socket(line));
        } else {
            Handover::Generation& one = service.generations.emplace_back();
            one.number = line.number<unsigned>();
            one.pid = line.number<pid_t>();
            one.control = line.number<int>();
            one.row = line.number<unsigned>();
            one.serves = line.flag();
            one.message_size = line.number<std::size_t>();
        }
    }
    return !line.failed();
}

bool set_cloexec(const Handover& state, bool yes) {
    for (const int fd : descriptors_of(state)) {
        if (::fcntl(fd, F_SETFD, yes ? FD_CLOEXEC : 0) != 0) {
            return false;
        }
    }
    return true;
}

} // namespace

std::string confirmation() {
    return fmt::format("cloister-state {}", Handover::version);
}

std::string encode(const Handover& state) {
    std::string text = confirmation() + "\n";
    text +=
        fmt::format("process {} {} {} {}\n", state.pid, hex(state.release), state.started_ns, state.reloads);
    text += fmt::format("reload_failures {}\n", state.reload_failures);
    text +=
        fmt::format("privileges {:d} {:d} {}\n", state.bounding_empty, state.groups_empty, state.oom_score);
    text += fmt::format("relay {}\n", state.relay);
    for (const auto& pipe : state.pipes) {
        text += fmt::format("pipe {} {}\n", pipe.read_end, pipe.write_end);
    }
    text += fmt::format("landlock {}\n", state.file_access.landlock_abi);
    for (const std::string& path : state.file_access.readable) {
        text += fmt::format("readable {}\n", hex(path));
    }
    for (const std::string& path : state.file_access.executable) {
        text += fmt::format("executable {}\n", hex(path));
    }
    for (const std::string& path : state.file_access.bindable) {
        text += fmt::format("bindable {}\n", hex(path));
    }
    if (state.control) {
        text += line_of("control", *state.control);
    }
    for (const auto& service : state.services) {
        text += fmt::format("service {} {} {} {}\n", hex(service.name), service.listener, service.log_slot,
                            service.shared);
        for (const auto& socket : service.sockets) {
            text += line_of("socket", socket);
        }
        for (const auto& one : service.generations) {
            text += fmt::format("generation {} {} {} {} {:d} {}\n", one.number, one.pid, one.control, one.row,
                                one.serves, one.message_size);
        }
    }
    return text + "end\n";
}

tl::expected<Handover, std::string> decode(std::string_view text) {
    Handover state;
    const std::string first = confirmation() + "\n";
    if (!text.starts_with(first)) {
        return tl::unexpected{fmt::format("it is of another version than {}", Handover::version)};
    }
    text.remove_prefix(first.size());
    while (!text.empty()) {
        const auto end = text.find('\n');
        Line line{text.substr(0, end)};
        const auto word = line.word();
        if (word == "end") {
            return state;
        }
        if (end == text.npos || !take(state, word, line)) {
            return tl::unexpected{fmt::format("the line '{}' is damaged", text.substr(0, end))};
        }
        text.remove_prefix(end + 1);
    }
    return tl::unexpected{std::string{"it has no end"}};
}

std::vector<int> descriptors_of(const Handover& state) {
    std::vector<int> all;
    const auto add = [&](int fd) {
        if (fd >= 0) {
            all.push_back(fd);
        }
    };
    const auto add_socket = [&](const Handover::Socket& socket) {
        add(socket.fd);
        add(socket.directory);
    };
    add(state.oom_score);
    for (const auto& pipe : state.pipes) {
        add(pipe.read_end);
        add(pipe.write_end);
    }
    if (state.control) {
        add_socket(*state.control);
    }
    for (const auto& service : state.services) {
        add(service.shared);
        for (const auto& socket : service.sockets) {
            add_socket(socket);
        }
        for (const auto& one : service.generations) {
            add(one.control);
        }
    }
    return all;
}

tl::expected<Fd, Failure> save(const Handover& state) {
    const auto failed = [](const char* call) {
        return tl::unexpected(
            Failure{ExitCode::SystemCall, fmt::format("cannot hand over: {}: {}", call, error_text(errno))});
    };
    Fd file = create_memory_file("cloister-state", MFD_ALLOW_SEALING);
    if (!file.valid()) {
        return failed("memfd_create");
    }
    const std::string text = encode(state);
    errno = EFBIG;
    if (::write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
        return failed("write");
    }
    if (!control::seal(file.get()) || ::fcntl(file.get(), F_SETFD, 0) != 0 || !set_cloexec(state, false)) {
        (void)set_cloexec(state, true);
        return failed("fcntl");
    }
    return file;
}

tl::expected<std::optional<Handover>, Failure> take_handover() {
    const char* const number = ::getenv(Handover::variable); // NOLINT(concurrency-mt-unsafe)
    if (number == nullptr) {
        return std::optional<Handover>{};
    }
    const auto refuse = [](std::string_view why) {
        return tl::unexpected(
            Failure{ExitCode::Config, fmt::format("{}: {}; only cloisterd sets it, when it executes its new "
                                                  "binary: unset it",
                                                  Handover::variable, why)});
    };
    Line line{number};
    const Fd file{line.number<int>()};
    ::unsetenv(Handover::variable); // NOLINT(concurrency-mt-unsafe)
    struct stat status {};
    if (line.failed() || !control::is_sealed(file.get()) || ::fstat(file.get(), &status) != 0 ||
        status.st_size > largest) {
        return refuse("it names no sealed memory file");
    }
    std::string text(static_cast<std::size_t>(status.st_size), '\0');
    if (::pread(file.get(), text.data(), text.size(), 0) != static_cast<ssize_t>(text.size())) {
        return refuse("the state cannot be read");
    }
    auto state = decode(text);
    if (!state) {
        return refuse(state.error());
    }
    if (state->pid != ::getpid()) {
        return refuse("the state is another process's");
    }
    if (!set_cloexec(*state, true)) {
        return refuse("a descriptor of the state is not open");
    }
    return std::optional{std::move(*state)};
}

} // namespace cloister::supervisor
