// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>

namespace cloister {

/// Of the Gregorian calendar, UTC, without leap seconds: what gmtime(3) says.
struct Date {
    std::uint64_t year;
    unsigned month;   ///< 0 is January
    unsigned day;     ///< 1 …
    unsigned weekday; ///< 0 is Sunday
    unsigned hour, minute, second;
};

inline constexpr std::uint64_t year_10000 = 253402300800; ///< the first second that needs five digits

/// `seconds` since 1970, fewer than 2^56. For cells, too: no call, no constant in memory.
[[gnu::always_inline]] inline constexpr Date date_of(std::uint64_t seconds) {
    // Years that begin on 1 March, so that the leap day comes last, in eras of 400 years or 146097 days:
    // howardhinnant.github.io/date_algorithms.html, civil_from_days.
    const std::uint64_t days = seconds / 86400;
    const auto in_day = static_cast<unsigned>(seconds % 86400);
    const std::uint64_t since_era_0 = days + 719468;
    const auto day_of_era = static_cast<unsigned>(since_era_0 % 146097);
    const unsigned year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    const unsigned day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    const unsigned from_march = (5 * day_of_year + 2) / 153;
    const unsigned month = from_march < 10 ? from_march + 2 : from_march - 10;
    return {since_era_0 / 146097 * 400 + year_of_era + (month < 2 ? 1 : 0),
            month,
            day_of_year - (153 * from_march + 2) / 5 + 1,
            static_cast<unsigned>((days + 4) % 7), // 1 January 1970 was a Thursday
            in_day / 3600,
            in_day / 60 % 60,
            in_day % 60};
}

} // namespace cloister
