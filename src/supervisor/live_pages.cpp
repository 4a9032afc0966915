// SPDX-License-Identifier: MIT
#include "supervisor/live_pages.h"

#include "base/die.h"
#include "base/memory_file.h"
#include "control/launch.h"
#include "supervisor/socket_options.h"

#include <algorithm>
#include <cerrno>
#include <sys/mman.h>
#include <unistd.h>

namespace cloister::supervisor {

void LivePages::Unmap::operator()(control::LiveContent* at) const {
    (void)munmap(at, size);
}

tl::expected<LivePages, Failure> LivePages::create(std::string_view first) {
    const auto failed = [](std::string_view call) {
        return tl::unexpected(system_failure("cannot make memory for the metrics", call, errno));
    };
    LivePages pages;
    pages.file_ = create_memory_file("cloister-content", MFD_ALLOW_SEALING);
    if (!pages.file_.valid()) {
        return failed("memfd_create");
    }
    if (ftruncate(pages.file_.get(), static_cast<off_t>(size)) != 0) {
        return failed("ftruncate");
    }
    void* const map = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, pages.file_.get(), 0);
    if (map == MAP_FAILED) {
        return failed("mmap");
    }
    pages.map_.reset(static_cast<control::LiveContent*>(map));
    if (!control::seal_for_others(pages.file_.get())) {
        return failed("F_ADD_SEALS");
    }
    pages.map_->head = {size - sizeof(control::Content), 1};
    pages.publish(first);
    return pages;
}

std::string_view LivePages::newest() const {
    const auto& page = map_->page(map_->newest_page());
    return {reinterpret_cast<const char*>(page.bytes), page.size};
}

void LivePages::publish(std::string_view page) {
    map_->publish(page.data(), std::min<std::size_t>(page.size(), control::LiveContent::longest));
}

} // namespace cloister::supervisor
