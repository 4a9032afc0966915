// SPDX-License-Identifier: MIT
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace cloister {

/// SipHash-2-4 of `size` bytes under a secret key of 128 bits (Aumasson and Bernstein, 2012): who does not
/// know the key cannot choose inputs that collide. Little-endian processors only, as all of ours are.
[[nodiscard]] inline std::uint64_t siphash(const std::uint64_t (&key)[2], const void* data,
                                           std::size_t size) {
    static_assert(std::endian::native == std::endian::little);
    std::uint64_t v0 = key[0] ^ 0x736f6d6570736575U;
    std::uint64_t v1 = key[1] ^ 0x646f72616e646f6dU;
    std::uint64_t v2 = key[0] ^ 0x6c7967656e657261U;
    std::uint64_t v3 = key[1] ^ 0x7465646279746573U;
    const auto rounds = [&](int count) {
        for (int i = 0; i < count; ++i) {
            v0 += v1;
            v1 = std::rotl(v1, 13) ^ v0;
            v0 = std::rotl(v0, 32);
            v2 += v3;
            v3 = std::rotl(v3, 16) ^ v2;
            v0 += v3;
            v3 = std::rotl(v3, 21) ^ v0;
            v2 += v1;
            v1 = std::rotl(v1, 17) ^ v2;
            v2 = std::rotl(v2, 32);
        }
    };
    const auto* bytes = static_cast<const std::uint8_t*>(data);
    const auto take = [&](std::uint64_t word) {
        v3 ^= word;
        rounds(2);
        v0 ^= word;
    };
    std::size_t left = size;
    for (; left >= 8; left -= 8, bytes += 8) {
        std::uint64_t word = 0;
        std::memcpy(&word, bytes, sizeof word);
        take(word);
    }
    std::uint64_t last = std::uint64_t{size} << 56U;
    for (std::size_t i = 0; i < left; ++i) {
        last |= std::uint64_t{bytes[i]} << (8 * i);
    }
    take(last);
    v2 ^= 0xff;
    rounds(4);
    return v0 ^ v1 ^ v2 ^ v3;
}

} // namespace cloister
