// SPDX-License-Identifier: MIT
#include "control/operator.h"

#include <cstring>

namespace cloister::control {
namespace {

constexpr char magic[8] = {'o', 'p', 'e', 'r', 'a', 't', 'o', 'r'};

} // namespace

void prepare(Request& request, Request::Kind kind) {
    std::memset(static_cast<void*>(&request), 0, sizeof request);
    std::memcpy(request.magic, magic, sizeof magic);
    request.version = operator_version;
    request.kind = kind;
}

// NOLINTNEXTLINE(cppcoreguidelines-pro-type-member-init): every byte is
Reply::Reply(Kind which) {
    std::memset(static_cast<void*>(this), 0, sizeof *this);
    version = operator_version;
    kind = which;
}

bool is_sound(const Request& request) {
    return std::memcmp(request.magic, magic, sizeof magic) == 0 && request.version == operator_version &&
           request.kind <= Request::Kind::Explain && request.source.kind <= Source::Kind::user &&
           request.source.prefix <= ipv6_bits;
}

} // namespace cloister::control
