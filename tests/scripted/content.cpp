// SPDX-License-Identifier: MIT
#include "control/content.h"

/// Stands for the place that a listener maps the content to.
extern "C" {
alignas(cloister::control::Content) std::uint8_t
    scripted_content[sizeof(cloister::control::Content) + cloister::control::max_content];
}
asm(R"(
    .globl cloister_content, cloister_content_end
    .set cloister_content, scripted_content
    .set cloister_content_end, scripted_content
)");
