// SPDX-License-Identifier: MIT
#pragma once

#include "base/fd.h"
#include "control/live_content.h"
#include "supervisor/failure.h"

#include <memory>
#include <string_view>
#include <tl/expected.hpp>

namespace cloister::supervisor {

/// The metrics, in a memory file that cells read while we renew it (control::LiveContent).
class LivePages {
  public:
    /// With `first` as its page. Failure: SystemCall.
    [[nodiscard]] static tl::expected<LivePages, Failure> create(std::string_view first);

    [[nodiscard]] int fd() const { return file_.get(); }
    static constexpr std::size_t size = sizeof(control::LiveContent);

    /// The newest page; until the next one but two is published.
    [[nodiscard]] std::string_view newest() const;
    /// A page longer than control::LiveContent::longest is cut.
    void publish(std::string_view page);

  private:
    struct Unmap {
        void operator()(control::LiveContent* at) const;
    };
    Fd file_;
    std::unique_ptr<control::LiveContent, Unmap> map_;
};

} // namespace cloister::supervisor
