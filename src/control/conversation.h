// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>

/// What the self-test says to a cell, and what must come back. It stands with the handler and comes from the
/// listener, whom the supervisor does not believe: judge.h checks it. No header of a library: handlers are
/// freestanding.
namespace cloister::control {

enum class Answer : std::uint32_t {
    Same,    ///< random bytes are sent, and must come back
    Bytes,   ///< `answer`
    Line,    ///< one line of printable ASCII
    Content, ///< the service's content
    Nothing, ///< the end at once
    Page,    ///< the newest page of the metrics (live_content.h)
};

struct Conversation {
    static constexpr std::uint32_t longest = 96;

    Answer kind;
    std::uint32_t request_size, answer_size; ///< 0 … longest
    char request[longest];                   ///< sent, and then our stream ends; not for Answer::Same
    char answer[longest];                    ///< for Answer::Bytes

    template <std::uint32_t N, std::uint32_t M = 1>
    static constexpr Conversation make(Answer kind, const char (&request)[N], const char (&answer)[M] = "") {
        static_assert(N - 1 <= longest && M - 1 <= longest);
        Conversation made{kind, N - 1, M - 1, {}, {}};
        for (std::uint32_t i = 0; i + 1 < N; ++i) {
            made.request[i] = request[i];
        }
        for (std::uint32_t i = 0; i + 1 < M; ++i) {
            made.answer[i] = answer[i];
        }
        return made;
    }
};

/// Defined by each handler, CLOISTER_CONVERSATION{...}, for the listener: cells do not have it.
extern "C"
    [[gnu::visibility("hidden"), gnu::section(".conversation")]] const Conversation cloister_conversation;
#define CLOISTER_CONVERSATION                                                                                \
    extern "C" [[gnu::section(".conversation"),                                                              \
                 gnu::used]] constexpr cloister::control::Conversation cloister_conversation

} // namespace cloister::control
