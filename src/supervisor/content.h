// SPDX-License-Identifier: MIT
#pragma once

#include "supervisor/sockets.h"

#include <memory>
#include <string_view>
#include <tl/expected.hpp>

namespace cloister::supervisor {

struct Unmap {
    std::size_t size = 0;
    void operator()(const void* at) const;
};

/// What the cells of a service may read (control::Content), in a sealed memory file that each generation is
/// given.
class ServedContent {
  public:
    [[nodiscard]] int fd() const { return memory_.get(); }                     ///< -1: there is none
    [[nodiscard]] std::string_view bytes() const;                              ///< without the header
    [[nodiscard]] std::size_t size() const { return map_.get_deleter().size; } ///< with it

  private:
    friend tl::expected<ServedContent, Failure> load_content(const config::Service& service);
    Fd memory_;
    std::unique_ptr<const void, Unmap> map_;
};

/// Reads the service's file, with the rights of who we are: call it when root has been given up. None, if it
/// names none. Failure: NoInput, NotPermitted; Config where it is no regular file, empty, or longer than
/// control::max_content.
[[nodiscard]] tl::expected<ServedContent, Failure> load_content(const config::Service& service);

} // namespace cloister::supervisor
