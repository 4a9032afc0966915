// SPDX-License-Identifier: MIT
#include "processes.h"

#include "base/fd.h"

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <fmt/format.h>
#include <fstream>
#include <poll.h>
#include <spawn.h>
#include <sstream>
#include <stdexcept>
#include <sys/stat.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

namespace cloister::live {

namespace fs = std::filesystem;

bool within(std::chrono::milliseconds limit, const std::function<bool()>& condition) {
    const auto until = std::chrono::steady_clock::now() + limit;
    for (;;) {
        if (condition()) {
            return true;
        }
        if (std::chrono::steady_clock::now() >= until) {
            return condition();
        }
        std::this_thread::sleep_for(5ms);
    }
}

bool am_root() {
    return ::geteuid() == 0;
}

std::string read_file(const std::string& path) {
    std::ifstream file{path, std::ios::binary};
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
}

std::vector<pid_t> children_of(pid_t parent) {
    std::istringstream text{read_file(fmt::format("/proc/{0}/task/{0}/children", parent))};
    std::vector<pid_t> children;
    for (pid_t pid = 0; text >> pid;) {
        children.push_back(pid);
    }
    return children;
}

std::map<std::string, std::string> status_of(pid_t pid) {
    std::istringstream text{read_file(fmt::format("/proc/{}/status", pid))};
    std::map<std::string, std::string> fields;
    for (std::string line; std::getline(text, line);) {
        const auto colon = line.find(':');
        const auto value = line.find_first_not_of(" \t", colon + 1);
        if (colon != std::string::npos) {
            fields[line.substr(0, colon)] = value == std::string::npos ? "" : line.substr(value);
        }
    }
    return fields;
}

char state_of(pid_t pid) {
    const auto state = status_of(pid)["State"];
    return state.empty() ? '\0' : state.front();
}

bool is_alive(pid_t pid) {
    const char state = state_of(pid);
    return state != '\0' && state != 'Z' && state != 'X';
}

long resident_kib(pid_t pid) {
    const auto text = status_of(pid)["VmRSS"];
    return text.empty() ? 0 : std::stol(text);
}

std::vector<int> descriptors_of(pid_t pid) {
    std::vector<int> numbers;
    std::error_code error;
    for (const auto& entry : fs::directory_iterator{fmt::format("/proc/{}/fd", pid), error}) {
        numbers.push_back(std::stoi(entry.path().filename()));
    }
    std::sort(numbers.begin(), numbers.end());
    return numbers;
}

std::vector<Mapping> mappings_of(pid_t pid) {
    std::istringstream text{read_file(fmt::format("/proc/{}/maps", pid))};
    std::vector<Mapping> mappings;
    for (std::string line; std::getline(text, line);) {
        std::istringstream fields{line};
        Mapping mapping{};
        char dash = 0;
        std::string offset;
        std::string device;
        std::string inode;
        fields >> std::hex >> mapping.start >> dash >> mapping.end >> mapping.permissions >> offset >>
            device >> inode;
        fields >> std::ws;
        std::getline(fields, mapping.name);
        mappings.push_back(mapping);
    }
    return mappings;
}

namespace {

pid_t spawn(const std::vector<std::string>& command, const posix_spawn_file_actions_t& actions) {
    std::vector<char*> arguments;
    for (const std::string& word : command) {
        arguments.push_back(const_cast<char*>(word.c_str()));
    }
    arguments.push_back(nullptr);
    pid_t pid = -1;
    const int error = ::posix_spawnp(&pid, arguments.front(), &actions, nullptr, arguments.data(), environ);
    if (error != 0) {
        throw std::runtime_error(fmt::format("{} can't be started: error {}", command.front(), error));
    }
    return pid;
}

int exit_code(int status) {
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

struct Pipe {
    Fd read_end;
    Fd write_end;
    Pipe() {
        int ends[2];
        if (::pipe2(ends, O_CLOEXEC) != 0) {
            throw std::runtime_error("no pipe");
        }
        read_end.reset(ends[0]);
        write_end.reset(ends[1]);
    }
};

/// What comes from `fd`, appended to `text`; false at the end.
bool drain(const Fd& fd, std::string& text) {
    char piece[4096];
    const ssize_t n = ::read(fd.get(), piece, sizeof piece);
    if (n > 0) {
        text.append(piece, static_cast<std::size_t>(n));
    }
    return n > 0;
}

} // namespace

Outcome run_program(const std::vector<std::string>& command, const std::string& input) {
    Pipe in;
    Pipe out;
    Pipe err;
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, in.read_end.get(), 0);
    ::posix_spawn_file_actions_adddup2(&actions, out.write_end.get(), 1);
    ::posix_spawn_file_actions_adddup2(&actions, err.write_end.get(), 2);
    const pid_t pid = spawn(command, actions);
    ::posix_spawn_file_actions_destroy(&actions);
    in.read_end.reset();
    out.write_end.reset();
    err.write_end.reset();
    if (!input.empty() && ::write(in.write_end.get(), input.data(), input.size()) < 0) {
        ::kill(pid, SIGKILL);
    }
    in.write_end.reset();

    Outcome outcome{};
    const auto until = std::chrono::steady_clock::now() + 30s;
    bool killed = false;
    pollfd ends[2] = {{out.read_end.get(), POLLIN, 0}, {err.read_end.get(), POLLIN, 0}};
    while (ends[0].fd >= 0 || ends[1].fd >= 0) {
        if (std::chrono::steady_clock::now() > until) {
            ::kill(pid, SIGKILL);
            killed = true;
            break;
        }
        ::poll(ends, 2, 100);
        if (ends[0].fd >= 0 && ends[0].revents != 0 && !drain(out.read_end, outcome.out)) {
            ends[0].fd = -1;
        }
        if (ends[1].fd >= 0 && ends[1].revents != 0 && !drain(err.read_end, outcome.err)) {
            ends[1].fd = -1;
        }
    }
    int status = 0;
    ::waitpid(pid, &status, 0);
    outcome.exit_code = killed ? -1000 : exit_code(status);
    return outcome;
}

Background::Background(const std::vector<std::string>& command) {
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    for (int fd = 0; fd <= 2; ++fd) {
        ::posix_spawn_file_actions_addopen(&actions, fd, "/dev/null", O_RDWR, 0);
    }
    pid_ = spawn(command, actions);
    ::posix_spawn_file_actions_destroy(&actions);
}

Background::~Background() {
    end(SIGKILL);
}

void Background::end(int signal) {
    if (pid_ <= 0) {
        return;
    }
    ::kill(pid_, signal);
    if (!within(5s, [this] { return ::waitpid(pid_, nullptr, WNOHANG) != 0; })) {
        ::kill(pid_, SIGKILL);
        ::waitpid(pid_, nullptr, 0);
    }
    pid_ = -1;
}

bool is_installed(const std::string& program) {
    std::istringstream path{std::getenv("PATH") != nullptr ? std::getenv("PATH") : "/usr/bin"};
    for (std::string directory; std::getline(path, directory, ':');) {
        if (::access((directory + "/" + program).c_str(), X_OK) == 0) {
            return true;
        }
    }
    return false;
}

std::string program_path(const std::string& name) {
    return fs::read_symlink("/proc/self/exe").parent_path() / name;
}

TemporaryDirectory::TemporaryDirectory() {
    std::string name = fs::temp_directory_path() / "cloister-live-XXXXXX";
    if (::mkdtemp(name.data()) == nullptr) {
        throw std::runtime_error("no temporary directory");
    }
    ::chmod(name.c_str(), 0755);
    path_ = name;
}

TemporaryDirectory::~TemporaryDirectory() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
}

} // namespace cloister::live
