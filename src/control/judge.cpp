// SPDX-License-Identifier: MIT
#include "control/judge.h"

#include <algorithm>

namespace cloister::control {
namespace {

constexpr std::size_t longest_line = 512;

std::string_view expected(const Conversation& conversation, std::string_view random,
                          std::string_view content) {
    switch (conversation.kind) {
    case Answer::Same:
        return random;
    case Answer::Bytes:
        return {conversation.answer, conversation.answer_size};
    case Answer::Content:
    case Answer::Page:
        return content;
    case Answer::Line: // any
    case Answer::Nothing:
        break;
    }
    return {};
}

/// Printable ASCII, ended by LF or CRLF.
bool is_line(std::string_view text) {
    if (!text.ends_with('\n')) {
        return false;
    }
    text.remove_suffix(text.ends_with("\r\n") ? 2 : 1);
    return !text.empty() &&
           std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c <= '~'; });
}

} // namespace

bool is_sound(const Conversation& conversation) {
    return conversation.kind <= Answer::Page && conversation.request_size <= Conversation::longest &&
           conversation.answer_size <= Conversation::longest;
}

std::string_view request_of(const Conversation& conversation, std::string_view random) {
    return conversation.kind == Answer::Same
               ? random
               : std::string_view{conversation.request, conversation.request_size};
}

std::size_t longest_answer(const Conversation& conversation, std::string_view random,
                           std::string_view content) {
    return conversation.kind == Answer::Line ? longest_line : expected(conversation, random, content).size();
}

bool is_answer(const Conversation& conversation, std::string_view random, std::string_view content,
               std::string_view received) {
    return conversation.kind == Answer::Line ? received.size() <= longest_line && is_line(received)
                                             : received == expected(conversation, random, content);
}

std::string_view name_of(Answer kind) {
    switch (kind) {
    case Answer::Same:
        return "the same bytes";
    case Answer::Bytes:
        return "the handler's answer";
    case Answer::Line:
        return "a line of text";
    case Answer::Content:
        return "the content";
    case Answer::Nothing:
        return "nothing";
    case Answer::Page:
        return "the page of the metrics";
    }
    return "?";
}

} // namespace cloister::control
