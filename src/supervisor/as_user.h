// SPDX-License-Identifier: MIT
#pragma once

#include "config/options.h"

#include <array>
#include <linux/capability.h>

namespace cloister::supervisor {

/// While it lives, root reaches files as `user` does: with the user's file system ids (setfsuid(2)), without
/// supplementary groups and without an effective capability. For directories that this user can rearrange:
/// what root can do there is then what the user can do anyway. The real and effective ids stay root's, so no
/// process of the user can signal or trace this one meanwhile. Each change is read back; dies if one fails.
/// Of one thread only: the groups belong to the whole process.
class AsUser {
  public:
    explicit AsUser(const config::User& user);
    ~AsUser();
    AsUser(AsUser&&) = delete;
    AsUser& operator=(AsUser&&) = delete;
    AsUser(const AsUser&) = delete;
    AsUser& operator=(const AsUser&) = delete;

  private:
    std::vector<gid_t> groups_;
    gid_t group_;
    std::array<__user_cap_data_struct, 2> capabilities_{};
};

} // namespace cloister::supervisor
