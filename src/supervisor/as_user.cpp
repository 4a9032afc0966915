// SPDX-License-Identifier: MIT
#include "supervisor/as_user.h"

#include "base/die.h"

#include <algorithm>
#include <cerrno>
#include <grp.h>
#include <sys/fsuid.h>
#include <sys/syscall.h>

namespace cloister::supervisor {
namespace {

using Capabilities = std::array<__user_cap_data_struct, 2>; // capabilities 0 to 31, 32 to 63: capget(2)

void permitted(bool yes, const char* step) {
    if (!yes) {
        die(ExitCode::NotPermitted, "cannot %s: %s", step, error_text(errno));
    }
}

void read_back(bool yes, const char* step) {
    if (!yes) {
        die(ExitCode::SelfTest, "asked to %s, the kernel did not do it", step);
    }
}

Capabilities capabilities() {
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    Capabilities sets{};
    permitted(::syscall(SYS_capget, &header, sets.data()) == 0, "read our capabilities: capget");
    return sets;
}

/// Permitted and inheritable ones stay as they are.
void set_effective(const Capabilities& wanted) {
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    permitted(::syscall(SYS_capset, &header, wanted.data()) == 0, "set our effective capabilities: capset");
    const auto is = capabilities();
    read_back(is[0].effective == wanted[0].effective && is[1].effective == wanted[1].effective,
              "set our effective capabilities");
}

void set_groups(const std::vector<gid_t>& groups) {
    permitted(::setgroups(groups.size(), groups.data()) == 0, "set our supplementary groups: setgroups");
    read_back(::getgroups(0, nullptr) == static_cast<int>(groups.size()), "set our supplementary groups");
}

/// They tell no error; -1 changes nothing and tells the present one (setfsuid(2), NOTES).
void set_file_system_ids(uid_t uid, gid_t gid) {
    (void)::setfsgid(gid);
    (void)::setfsuid(uid);
    read_back(::setfsuid(uid_t(-1)) == static_cast<int>(uid) &&
                  ::setfsgid(gid_t(-1)) == static_cast<int>(gid),
              "reach files as another user: setfsuid, setfsgid");
}

} // namespace

AsUser::AsUser(const config::User& user) : group_{::getegid()}, capabilities_{capabilities()} {
    const int count = ::getgroups(0, nullptr);
    groups_.resize(static_cast<std::size_t>(std::max(count, 0)));
    permitted(count >= 0 && ::getgroups(count, groups_.data()) == count,
              "read our supplementary groups: getgroups");
    set_groups({});
    set_file_system_ids(user.uid, user.gid);
    auto none = capabilities_;
    none[0].effective = none[1].effective = 0;
    set_effective(none);
}

AsUser::~AsUser() {
    set_file_system_ids(::geteuid(),
                        group_); // the kernel raises capabilities with it; these are the ones we had
    set_effective(capabilities_);
    set_groups(groups_);
}

} // namespace cloister::supervisor
