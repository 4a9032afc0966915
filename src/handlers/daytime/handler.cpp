// SPDX-License-Identifier: MIT
// RFC 867, TCP: sends one line, the date and time in UTC, and ends. What the client sends is thrown away.
#include "base/date.h"
#include "handlers/connection.h"
#include "handlers/writer.h"

#include <ctime>

namespace cloister::cell {

CLOISTER_CELL_CONSTANT char weekdays[7][12] = {"Sunday, ",   "Monday, ", "Tuesday, ", "Wednesday, ",
                                               "Thursday, ", "Friday, ", "Saturday, "};
CLOISTER_CELL_CONSTANT char months[12][11] = {"January ",   "February ", "March ",    "April ",
                                              "May ",       "June ",     "July ",     "August ",
                                              "September ", "October ",  "November ", "December "};
CLOISTER_CELL_CONSTANT char comma[] = ", ";
CLOISTER_CELL_CONSTANT char zone[] = "-UTC\r\n";

/// `Thursday, November 26, 2026 05:01:17-UTC\r\n`, the form that RFC 867 suggests. Returns its end.
CLOISTER_INLINE std::uint8_t* write_line(std::uint8_t* to, const Date& date) {
    Writer line{to};
    line.text(weekdays[date.weekday]).text(months[date.month]);
    line.number(date.day).text(comma);
    line.two_digits(date.year / 100).two_digits(date.year, ' ');
    line.two_digits(date.hour, ':').two_digits(date.minute, ':').two_digits(date.second);
    line.text(zone);
    return line.end;
}

extern "C" CLOISTER_CELL_CODE void cloister_handle(std::uint8_t* buffer) {
    // A call: cells have no vDSO. The filter lets it write into the buffer and nowhere else.
    const long got = sys::cell_call(SYS_clock_gettime, CLOCK_REALTIME, address(buffer));
    const auto seconds = static_cast<std::uint64_t>(reinterpret_cast<const timespec*>(buffer)->tv_sec);
    if (got != 0 || seconds >= year_10000) {
        leave(Exit::Bug);
    }
    send(buffer, write_line(buffer, date_of(seconds)) - buffer);
    finish_unread(buffer);
}

} // namespace cloister::cell

CLOISTER_CONVERSATION{cloister::control::Conversation::make(cloister::control::Answer::Line, "")};
