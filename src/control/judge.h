// SPDX-License-Identifier: MIT
#pragma once

#include "control/conversation.h"

#include <cstddef>
#include <string_view>

/// The self-test's side of a Conversation: pure.
namespace cloister::control {

/// Within its bounds: a listener may say anything.
[[nodiscard]] bool is_sound(const Conversation& conversation);

/// What to send before our stream ends; `random` is for Answer::Same.
[[nodiscard]] std::string_view request_of(const Conversation& conversation, std::string_view random);

/// More than so many bytes can't be right.
[[nodiscard]] std::size_t longest_answer(const Conversation& conversation, std::string_view random,
                                         std::string_view content);

/// Whether `received`, all that came until the end, is the answer.
[[nodiscard]] bool is_answer(const Conversation& conversation, std::string_view random,
                             std::string_view content, std::string_view received);

/// "the same bytes", "a line of text", …: what was expected, for messages.
[[nodiscard]] std::string_view name_of(Answer kind);

} // namespace cloister::control
