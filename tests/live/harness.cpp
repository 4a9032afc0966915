// SPDX-License-Identifier: MIT
#include "harness.h"

#include "base/log_names.h"

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <fcntl.h>
#include <fmt/format.h>
#include <fstream>
#include <gtest/gtest.h>
#include <iterator>
#include <poll.h>
#include <sched.h>
#include <set>
#include <sstream>
#include <stdexcept>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace cloister::live {

namespace {

/// `LISTEN_PID=` with room for the number, which only the child knows.
struct Environment {
    std::vector<std::string> texts;
    std::vector<char*> pointers;
    char* listen_pid = nullptr;

    Environment(std::size_t passed, bool unlimited, bool without_control) {
        for (char** variable = environ; *variable != nullptr; ++variable) {
            const std::string text = *variable;
            if (!text.starts_with("LISTEN_") && !text.starts_with("CLOISTER_")) {
                texts.push_back(text);
            }
        }
        if (without_control) {
            texts.emplace_back("CLOISTER_CONTROL_SOCKET=off");
        }
        if (unlimited) {
            texts.insert(texts.end(), {"CLOISTER_MAX_PER_SOURCE=1048576", "CLOISTER_SOURCE_RATE=1000000/s",
                                       "CLOISTER_PENALTY=off", "CLOISTER_DEFER_ACCEPT=off"});
        }
        if (passed != 0) {
            texts.push_back(fmt::format("LISTEN_FDS={}", passed));
            texts.push_back("LISTEN_PID=            ");
        }
        for (std::string& text : texts) {
            pointers.push_back(text.data());
        }
        if (passed != 0) {
            listen_pid = pointers.back() + sizeof "LISTEN_PID=" - 1;
        }
        pointers.push_back(nullptr);
    }
};

void write_number(char* to, pid_t number) {
    char digits[16];
    int count = 0;
    for (; number != 0; number /= 10) {
        digits[count++] = static_cast<char>('0' + number % 10);
    }
    while (count != 0) {
        *to++ = digits[--count];
    }
    *to = '\0';
}

std::vector<std::string> words_of(std::string_view text) {
    std::istringstream stream{std::string{text}};
    return {std::istream_iterator<std::string>{stream}, {}};
}

/// What is wrong with a record by base/log_names.h; empty if nothing is.
std::string undocumented(const Json& record) {
    const auto event = std::find_if(std::begin(events), std::end(events), [&](const EventText& text) {
        return text.name == record.value("event", "");
    });
    if (event == std::end(events)) {
        return "no such event";
    }
    const auto levels = words_of(event->levels);
    if (std::find(levels.begin(), levels.end(), record.value("level", "")) == levels.end()) {
        return "another level than is documented";
    }
    std::set<std::string> known{"ts", "level", "event", "truncated"};
    for (std::string field : words_of(event->fields)) {
        if (field.back() == '?') {
            field.pop_back();
        } else if (!record.contains(field) && !record.contains("truncated")) {
            return "no field " + field;
        }
        known.insert(field);
    }
    for (const auto& [field, value] : record.items()) {
        if (!known.contains(field)) {
            return "a field that is not documented: " + field;
        }
    }
    return {};
}

std::string end_of_text(const std::string& text) {
    constexpr std::size_t enough = 4000;
    return text.substr(text.size() - std::min(text.size(), enough));
}

/// The daemons of this process: of its children, what is none of these and has such a name is an orphan of
/// one.
std::set<pid_t>& daemons() {
    static std::set<pid_t> pids;
    return pids;
}

/// Between fork and exec of a process with threads only async-signal-safe calls may be made (fork(2)).
[[noreturn]] void become_daemon(const Setup& setup, Environment& environment, char* const* arguments,
                                int log) {
    if (!setup.cgroup_procs.empty()) { // 0 means the process that writes
        const int procs = ::open(setup.cgroup_procs.c_str(), O_WRONLY | O_CLOEXEC);
        if (::write(procs, "0", 1) != 1) {
            ::_exit(126);
        }
    }
    if (setup.standard_descriptors) {
        const int null = ::open("/dev/null", O_RDWR);
        ::dup2(null, 0);
        ::dup2(null, 1);
        ::dup2(setup.stderr_fd >= 0 ? setup.stderr_fd : log, 2);
    } else {
        ::close(0);
        ::close(1);
        ::close(2);
    }
    // The passed ones are ours, with higher numbers than 3 + their count: nothing is overwritten.
    int next = 3;
    for (const int fd : setup.passed) {
        ::dup2(fd, next++);
    }
    for (const int fd : setup.inherited) {
        ::dup2(fd, next++);
    }
    ::close_range(static_cast<unsigned>(next), ~0U, 0);
    if (environment.listen_pid != nullptr) {
        write_number(environment.listen_pid, setup.passed_to_another ? 1 : ::getpid());
    }
    if (setup.user_namespace && (::unshare(CLONE_NEWUSER) != 0 || ::raise(SIGSTOP) != 0)) {
        ::_exit(125);
    }
    if (setup.last) {
        setup.last();
    }
    for (const Fault& fault : setup.faults) {
        answer_in_the_kernels_place(fault);
    }
    ::execve(arguments[0], arguments, environment.pointers.data());
    ::_exit(127);
}

} // namespace

std::vector<std::string> user_options() {
    if (!am_root()) {
        return {};
    }
    return {"--user", fmt::format("{0}:{0}", daemon_id)};
}

Outcome run_cloisterd(std::vector<std::string> options) {
    options.insert(options.begin(), program_path("cloisterd"));
    return run_program(options);
}

Daemon::Daemon(Setup setup) {
    ::prctl(PR_SET_CHILD_SUBREAPER, 1);
    std::vector<std::string> words{setup.through};
    words.push_back(program_path(setup.program));
    for (const std::string& word : user_options()) {
        words.push_back(word);
    }
    if (setup.passed.empty()) {
        for (const std::string& address : setup.listen) {
            words.push_back("--listen=" + address);
        }
    }
    words.insert(words.end(), setup.options.begin(), setup.options.end());
    std::vector<char*> arguments;
    for (std::string& word : words) {
        arguments.push_back(word.data());
    }
    arguments.push_back(nullptr);
    for (int& fd : setup.passed) {
        fd = ::fcntl(fd, F_DUPFD_CLOEXEC, 100);
    }
    for (int& fd : setup.inherited) {
        const Fd given{fd};
        fd = ::fcntl(given.get(), F_DUPFD_CLOEXEC, 100);
    }
    Environment environment{setup.passed.size(), setup.unlimited, setup.without_control};
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) {
        throw std::runtime_error("no pipe");
    }
    log_pipe_.reset(ends[0]);
    Fd log{ends[1]};
    pid_ = ::fork();
    if (pid_ == 0) {
        become_daemon(setup, environment, arguments.data(), log.get());
    }
    daemons().insert(pid_);
    if (setup.user_namespace) {
        ::waitpid(pid_, nullptr, WUNTRACED);
        for (const char* map : {"uid_map", "gid_map"}) { // which only its parent may fill with so many
            std::ofstream{fmt::format("/proc/{}/{}", pid_, map)} << "0 0 65536\n";
        }
        ::kill(pid_, SIGCONT);
    }
    for (const auto* fds : {&setup.passed, &setup.inherited}) {
        for (const int fd : *fds) {
            ::close(fd);
        }
    }
    log.reset();
    reader_ = std::thread{[this] { follow_log(); }};
    if (setup.await_ready && setup.standard_descriptors && setup.stderr_fd < 0) {
        try {
            ready_ = await_record("ready");
            if (setup.passed.empty()) { // else there may be clients already
                (void)has_cells(0);     // the self-test's may still be on its way out
            }
        } catch (...) {
            ::kill(pid_, SIGKILL);
            ::waitpid(pid_, nullptr, 0);
            daemons().erase(pid_);
            {
                const std::lock_guard lock{mutex_};
                stop_ = true;
            }
            reader_.join();
            throw;
        }
    }
}

Daemon::~Daemon() {
    read_log(true);
    if (!ended_) {
        // Twice: the second one means 'at once'. A pending signal does not count twice, so the first must be
        // taken.
        signal(SIGTERM);
        for (int i = 0; i < 50 && !ends_within(100ms); ++i) {
            signal(SIGTERM);
        }
    }
    EXPECT_TRUE(ended_.has_value()) << "cloisterd does not end on SIGTERM\n" << log();
    if (!ended_) {
        ::kill(pid_, SIGKILL);
        ::waitpid(pid_, nullptr, 0);
    }
    EXPECT_TRUE(leaves_nobody_within(2s))
        << "processes are left: " << fmt::format("{}", fmt::join(family(), " "));
    for (const pid_t pid : family()) {
        ::kill(pid, SIGKILL);
    }
    {
        const std::lock_guard lock{mutex_};
        stop_ = true;
    }
    reader_.join();
    std::istringstream lines{log()};
    for (std::string line; std::getline(lines, line);) {
        const auto record = Json::parse(line, nullptr, false);
        if (record.is_object() && record.contains("event")) {
            EXPECT_EQ(undocumented(record), "") << line;
        }
    }
    if (::testing::Test::HasFailure()) {
        std::fprintf(stderr, "--- the daemon's log, its end ---\n%s---\n", end_of_text(log()).c_str());
    }
    daemons().erase(pid_);
}

void Daemon::follow_log() {
    pollfd waiting{log_pipe_.get(), POLLIN, 0};
    for (bool open = true;;) {
        bool reading = false;
        {
            const std::lock_guard lock{mutex_};
            if (stop_) {
                return;
            }
            if (break_) {
                log_pipe_.reset();
                open = false;
            }
            reading = reading_ && open;
        }
        if (!reading) {
            std::this_thread::sleep_for(5ms);
            continue;
        }
        if (::poll(&waiting, 1, 20) != 1) {
            continue;
        }
        char piece[65536];
        const ssize_t n = ::read(log_pipe_.get(), piece, sizeof piece);
        const std::lock_guard lock{mutex_};
        open = n > 0;
        at_end_ = !open;
        log_.append(piece, static_cast<std::size_t>(std::max<ssize_t>(n, 0)));
        changed_.notify_all();
    }
}

void Daemon::read_log(bool yes) {
    const std::lock_guard lock{mutex_};
    reading_ = yes;
}

void Daemon::break_log() {
    {
        const std::lock_guard lock{mutex_};
        break_ = true;
    }
    std::this_thread::sleep_for(100ms); // the reader's next look
}

std::string Daemon::log() const {
    const std::lock_guard lock{mutex_};
    return log_;
}

std::vector<Json> Daemon::records(const std::string& event) const {
    std::vector<Json> found;
    std::istringstream text{log()};
    for (std::string line; std::getline(text, line);) {
        // The last line may be on its way still.
        auto record = text.eof() ? Json{} : Json::parse(line, nullptr, false);
        if (record.is_object() && record.value("event", "") == event) {
            found.push_back(std::move(record));
        }
    }
    return found;
}

Json Daemon::await_record(const std::string& event, const std::function<bool(const Json&)>& matches,
                          std::chrono::milliseconds limit) const {
    const auto until = std::chrono::steady_clock::now() + limit;
    do {
        for (const Json& record : records(event)) {
            if (!matches || matches(record)) {
                return record;
            }
        }
        if (is_alive(pid_)) {
            std::unique_lock lock{mutex_};
            changed_.wait_for(lock, 50ms);
        } else if (!within(200ms, [&] { return !records(event).empty(); })) {
            break;
        }
    } while (std::chrono::steady_clock::now() < until);
    throw std::runtime_error(
        fmt::format("no '{}' record as expected; the log:\n{}", event, end_of_text(log())));
}

Json Daemon::end_of(const std::string& name, std::chrono::milliseconds limit) const {
    return await_record(
        "connection", [&](const Json& record) { return record.value("peer", "") == name; }, limit);
}

std::string Daemon::address(std::size_t n) const {
    return ready_.at("listen").at(n);
}

pid_t Daemon::child_named(const std::string& name) const {
    for (const pid_t child : children_of(pid_)) {
        if (is_alive(child) && status_of(child)["Name"] == name) {
            return child;
        }
    }
    return 0;
}

pid_t Daemon::listener() const {
    return child_named("cloister-listen");
}

pid_t Daemon::relay() const {
    return child_named("cloister-relay");
}

void Daemon::signal_listener(int number) const {
    const pid_t pid = listener();
    if (pid == 0) {
        throw std::runtime_error("no listener");
    }
    ::kill(pid, number);
}

std::vector<pid_t> Daemon::cells() const {
    std::vector<pid_t> cells = children_of(listener());
    std::erase_if(cells, [](pid_t pid) { return !is_alive(pid); });
    return cells;
}

bool Daemon::has_cells(std::size_t count, std::chrono::milliseconds limit) const {
    return within(limit, [&] { return cells().size() == count; });
}

pid_t Daemon::only_cell() const {
    if (!has_cells(1)) {
        throw std::runtime_error(fmt::format("{} cells instead of one", cells().size()));
    }
    return cells().front();
}

void Daemon::signal(int number) const {
    if (!ended_) {
        ::kill(pid_, number);
    }
}

std::optional<int> Daemon::ends_within(std::chrono::milliseconds limit) {
    if (!ended_) {
        int status = 0;
        if (within(limit, [&] { return ::waitpid(pid_, &status, WNOHANG) == pid_; })) {
            ended_ = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
            std::unique_lock lock{mutex_};
            if (reading_ && !break_) {
                changed_.wait_for(lock, 1s, [this] { return at_end_; });
            }
        }
    }
    return ended_;
}

/// Children of ours with its name: those whose parent has ended.
std::vector<pid_t> Daemon::family() const {
    std::vector<pid_t> found;
    for (const pid_t child : children_of(::getpid())) {
        if (status_of(child)["Name"].starts_with("cloister") && !daemons().contains(child)) {
            found.push_back(child);
        }
    }
    return found;
}

bool Daemon::leaves_nobody_within(std::chrono::milliseconds limit) const {
    return within(limit, [this] {
        const auto left = family();
        for (const pid_t pid : left) {
            ::waitpid(pid, nullptr, WNOHANG | __WALL);
        }
        return family().empty();
    });
}

} // namespace cloister::live
