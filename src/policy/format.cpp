// SPDX-License-Identifier: MIT
#include "policy/policy.h"

#include <algorithm>
#include <map>

namespace cloister::policy {
namespace {

struct Piece {
    std::string text;
    std::size_t gap = 1;   ///< spaces before it, as written
    std::size_t least = 1; ///< spaces before it where nothing lines up
};

struct Row {
    std::string raw; ///< a comment or a blank line, which has no pieces
    char kind = 0;   ///< header and declarations, rules, tests
    std::vector<Piece> pieces;
};

bool is_action(std::string_view word) {
    for (const auto* name :
         {"allow", "log", "trace", "notify", "errno", "trap", "kill-thread", "kill-process"}) {
        if (word == name) {
            return true;
        }
    }
    return false;
}

// The first word from there on, or an empty one.
std::string_view word_at(std::string_view line, std::size_t from) {
    const auto start = line.find_first_not_of(' ', std::min(from, line.size()));
    return start == std::string_view::npos ? std::string_view{}
                                           : line.substr(start, line.find(' ', start) - start);
}

Row row_of(std::string_view line) {
    Row row;
    line = line.substr(0, line.find_last_not_of(' ') + 1);
    row.raw = line;
    const auto start = line.find_first_not_of(' ');
    if (start == std::string_view::npos || line[start] == '#') {
        return row;
    }
    const auto first = line.substr(start, line.find(' ', start) - start);
    row.kind = first == "test" ? 't' : is_action(first) ? 'r' : 'h';
    std::size_t condition =
        2; // where a rule's first condition stands: behind the action, its number, and the call
    const auto second = word_at(line, line.find(' ', start));
    const bool numbered = (first == "trap" || first == "trace") && !second.empty() && second.front() <= '9';
    condition += first == "errno" || numbered ? 1U : 0U;
    for (std::size_t at = start, end = start; at != std::string_view::npos;
         at = line.find_first_not_of(' ', end)) {
        const auto gap = at - end;
        end = std::min(line.find(' ', at), line.size());
        const auto word = line.substr(at, end - at);
        const auto index = row.pieces.size();
        std::size_t least = row.pieces.empty() ? 0 : 1;
        if (word == ":") {
            // The reason is one piece: its words are the author's.
            const auto text = line.find_first_not_of(' ', end);
            row.pieces.push_back({": " + std::string{line.substr(std::min(text, line.size()))}, gap, 1});
            break;
        }
        if (row.kind == 'r' && index + 1 == condition && word == "syscall") {
            ++condition; // its number
        }
        if (row.kind == 'r' && index == condition) {
            least = 2;
            const auto op = word_at(line, end);
            condition += word == "any" || op == ":" ? 1U : op == "any" ? 2U : op.front() == '&' ? 5U : 3U;
        }
        row.pieces.push_back({std::string{word}, gap, least});
    }
    row.pieces.front().gap = 0;
    return row;
}

// The columns at which pieces start, and the line as it is.
std::vector<std::size_t> columns(const Row& row) {
    std::vector<std::size_t> starts;
    std::size_t column = 0;
    for (const auto& piece : row.pieces) {
        column += piece.gap;
        starts.push_back(column);
        column += piece.text.size();
    }
    return starts;
}

// One round: in each line, closes the first gap that lines up with no other line. True if there was one.
bool settle(std::vector<Row>& rows) {
    std::map<std::pair<char, std::size_t>, unsigned> lines_at;
    for (const auto& row : rows) {
        for (const auto column : columns(row)) {
            ++lines_at[{row.kind, column}];
        }
    }
    bool changed = false;
    for (auto& row : rows) {
        const auto starts = columns(row);
        for (std::size_t i = 0; i < row.pieces.size(); ++i) {
            auto& piece = row.pieces[i];
            const bool plain = piece.gap >= piece.least && piece.gap <= 2 && i != 0;
            if (!plain && piece.gap != piece.least && lines_at[{row.kind, starts[i]}] == 1) {
                piece.gap = piece.least;
                changed = true;
                break;
            }
        }
    }
    return changed;
}

} // namespace

std::string format(const Policy& policy) {
    std::vector<Row> rows;
    for (std::string_view rest = policy.text; !rest.empty();) {
        const auto end = std::min(rest.find('\n'), rest.size());
        rows.push_back(row_of(rest.substr(0, end)));
        rest.remove_prefix(std::min(end + 1, rest.size()));
    }
    while (settle(rows)) {
    }
    std::string text;
    bool blank = true; // the line before was blank, or there is none
    for (const auto& row : rows) {
        if (row.raw.empty()) {
            text += blank ? "" : "\n";
            blank = true;
            continue;
        }
        blank = false;
        if (row.pieces.empty()) {
            text += row.raw;
        }
        for (const auto& piece : row.pieces) {
            text.append(piece.gap, ' ').append(piece.text);
        }
        text += '\n';
    }
    return text.substr(0, text.find_last_not_of('\n') + 1) + '\n';
}

} // namespace cloister::policy
