// SPDX-License-Identifier: MIT
#include "supervisor/upgrade.h"

#include "base/die.h"
#include "base/trust.h"

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

namespace cloister::supervisor {
namespace {

/// execveat(2) with one more argument, and one more variable; null: none.
void execute_with(int file, const char* const* arguments, const char* argument, const std::string& variable) {
    std::vector<char*> argv;
    for (; *arguments != nullptr; ++arguments) {
        argv.push_back(const_cast<char*>(*arguments));
    }
    if (argument != nullptr) {
        argv.push_back(const_cast<char*>(argument));
    }
    argv.push_back(nullptr);
    std::vector<char*> envp;
    for (char** one = environ; *one != nullptr; ++one) {
        envp.push_back(*one);
    }
    std::string added = variable;
    envp.push_back(added.data());
    envp.push_back(nullptr);
    (void)syscall(SYS_execveat, file, "", argv.data(), envp.data(), AT_EMPTY_PATH);
}

} // namespace

tl::expected<NewBinary, Failure> NewBinary::try_out(const std::filesystem::path& path,
                                                    const char* const* arguments) {
    auto file = trust::find(path, {.user = ::geteuid()});
    if (!file) {
        const auto& [error, message] = file.error();
        return tl::unexpected(Failure{error == 0 ? ExitCode::NotPermitted : ExitCode::NoInput,
                                      fmt::format("{}: {}", path.string(), message)});
    }
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) != 0) {
        return tl::unexpected(Failure{ExitCode::SystemCall, fmt::format("pipe2: {}", error_text(errno))});
    }
    Fd output{ends[0]};
    const Fd theirs{ends[1]};
    const pid_t pid = ::fork();
    if (pid == 0) {
        (void)::dup2(theirs.get(), STDOUT_FILENO);
        (void)::dup2(theirs.get(), STDERR_FILENO);
        execute_with(file->get(), arguments, "--check",
                     fmt::format("{}={}", Handover::check_variable, Handover::version));
        fmt::print(stderr, "cloisterd: cannot execute {}: execveat: {}\n", path.string(), error_text(errno));
        (void)std::fflush(stderr);
        ::_exit(static_cast<int>(ExitCode::SystemCall));
    }
    if (pid < 0) {
        return tl::unexpected(Failure{ExitCode::SystemCall, fmt::format("fork: {}", error_text(errno))});
    }
    return NewBinary{std::move(*file), std::move(output), pid};
}

std::string NewBinary::judge(int status) {
    char text[4096];
    const ssize_t size = ::read(output_.get(), text, sizeof text);
    pid_ = 0;
    std::string_view said{text, size > 0 ? static_cast<std::size_t>(size) : 0};
    const std::string expected = confirmation() + "\n";
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        return said == expected ? std::string{}
                                : fmt::format("the new binary does not say that it can take over our state "
                                              "({}); stop cloisterd and start that one",
                                              confirmation());
    }
    const auto first = said.substr(0, said.find('\n'));
    return WIFEXITED(status)
               ? fmt::format("the new binary refuses: exit code {}: {}", WEXITSTATUS(status), first)
               : fmt::format("the new binary ended with signal {} when it was tried", WTERMSIG(status));
}

Failure NewBinary::execute(const Handover& state, const char* const* arguments) {
    auto saved = save(state);
    if (!saved) {
        return saved.error();
    }
    execute_with(file_.get(), arguments, nullptr, fmt::format("{}={}", Handover::variable, saved->get()));
    const int error = errno;
    for (const int fd : descriptors_of(state)) {
        (void)::fcntl(fd, F_SETFD, FD_CLOEXEC);
    }
    return {ExitCode::SystemCall,
            fmt::format("cannot execute the new binary: execveat: {}", error_text(error))};
}

} // namespace cloister::supervisor
