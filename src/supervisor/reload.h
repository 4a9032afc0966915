// SPDX-License-Identifier: MIT
#pragma once

#include "supervisor/log.h"
#include "supervisor/setup.h"

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <tl/expected.hpp>
#include <vector>

namespace cloister::supervisor {

/// The same options and environment as at the start, and what the file says now. Failure: the message names
/// the place, as at a start.
using ReadConfig = std::function<tl::expected<config::Config, Failure>()>;

[[nodiscard]] ReadConfig read_config_of(int argc, const char* const* argv);

/// A new configuration, with everything open that it needs. Nothing has changed yet, but that its new sockets
/// are bound.
struct Change {
    config::Config config;
    struct Service {
        std::shared_ptr<Setup> setup;
        std::optional<std::size_t> before; ///< its place in the services that there are
    };
    std::vector<Service> services;
    std::vector<std::shared_ptr<ListeningSocket>> bound; ///< by this change
};

/// Reads and checks a configuration: file, policies (which are proved), content, programs, sockets.
/// `services` are those that run, null where one was removed; sockets are taken over from them. With the
/// rights that we have now. Failure: nothing has changed.
[[nodiscard]] tl::expected<Change, Failure>
prepare_change(const config::Config& now, std::span<const std::shared_ptr<const Setup>> services,
               const FileAccess& file_access, const ReadConfig& read_config, const OpenBinary& open_binary);

/// Closes those sockets, and removes their files.
void close_sockets(std::span<const std::shared_ptr<ListeningSocket>> sockets);

} // namespace cloister::supervisor
