// SPDX-License-Identifier: MIT
#include "supervisor/content.h"

#include "base/die.h"
#include "base/memory_file.h"
#include "control/content.h"
#include "control/launch.h"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <fmt/core.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <vector>

namespace cloister::supervisor {

void Unmap::operator()(const void* at) const {
    (void)munmap(const_cast<void*>(at), size);
}

std::string_view ServedContent::bytes() const {
    return map_ ? std::string_view{static_cast<const char*>(map_.get()), size()}.substr(
                      sizeof(control::Content))
                : std::string_view{};
}

tl::expected<ServedContent, Failure> load_content(const config::Service& service) {
    ServedContent served;
    if (service.content.empty()) {
        return served;
    }
    const auto failed = [&](ExitCode code, std::string_view why) {
        return tl::unexpected(Failure{code, fmt::format("content {}: {}", service.content.string(), why)});
    };
    const auto refused = [&](std::string_view call) {
        const bool missing = errno == ENOENT || errno == ENOTDIR;
        const bool denied = errno == EACCES || errno == EPERM;
        return failed(missing  ? ExitCode::NoInput
                      : denied ? ExitCode::NotPermitted
                               : ExitCode::SystemCall,
                      fmt::format("{}: {}{}", call, error_text(errno),
                                  denied ? fmt::format("; user {} must be able to read it", geteuid()) : ""));
    };
    const Fd file{
        open(service.content.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)}; // it may be a FIFO
    struct stat status {};
    if (!file.valid() || fstat(file.get(), &status) != 0) {
        return refused("cannot open");
    }
    if (!S_ISREG(status.st_mode)) {
        return failed(ExitCode::Config, "is no regular file; give one that cells can be given to read");
    }
    // One byte more than may be, so that a file that grows meanwhile is noticed, too.
    constexpr std::size_t most = sizeof(control::Content) + control::max_content + 1;
    constexpr std::size_t step = 65536;
    std::vector<char> bytes(sizeof(control::Content));
    for (ssize_t got = 1; got != 0 && bytes.size() < most;) {
        const std::size_t size = bytes.size();
        bytes.resize(std::min(size + step, most));
        got = read(file.get(), &bytes[size], bytes.size() - size);
        if (got < 0 && errno != EINTR) {
            return refused("cannot read");
        }
        bytes.resize(size + static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
    }
    const std::size_t size = bytes.size();
    if (size == sizeof(control::Content)) {
        return failed(ExitCode::Config, "is empty; there is nothing to serve");
    }
    if (size == most) {
        return failed(ExitCode::Config,
                      fmt::format("has more than {} bytes; serve a smaller one", control::max_content));
    }
    const control::Content header{size - sizeof(control::Content), service.content_after_request ? 1U : 0U};
    std::memcpy(bytes.data(), &header, sizeof header);
    served.memory_ = create_memory_file("cloister-content", MFD_ALLOW_SEALING);
    for (std::size_t at = 0; served.memory_.valid() && at < size;) {
        const ssize_t put = write(served.memory_.get(), &bytes[at], size - at);
        if (put <= 0) {
            return refused("cannot copy it: write");
        }
        at += static_cast<std::size_t>(put);
    }
    if (!served.memory_.valid() || !control::seal(served.memory_.get())) {
        return refused("cannot make a sealed copy of it: memfd_create");
    }
    const void* const map = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, served.memory_.get(), 0);
    if (map == MAP_FAILED) {
        return refused("cannot map it: mmap");
    }
    served.map_ = {map, {size}};
    return served;
}

} // namespace cloister::supervisor
