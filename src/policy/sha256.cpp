// SPDX-License-Identifier: MIT
#include "policy/sha256.h"

#include <array>
#include <cstdint>
#include <sys/types.h> // before sha2.h, which lacks it

#include <sha2.h>

namespace cloister::policy {

std::string sha256_hex(std::string_view bytes) {
    std::array<char, SHA256_DIGEST_STRING_LENGTH> hex{};
    SHA256Data(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size(), hex.data());
    return hex.data();
}

} // namespace cloister::policy
