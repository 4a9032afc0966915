// SPDX-License-Identifier: MIT
// What upper must answer: its test and its fuzz harness compare.
#include "scripted/model.h"

std::string cloister::scripted::answer_to(std::string received) {
    for (char& c : received) {
        c = c < 'a' || c > 'z' ? c : static_cast<char>(c - 32);
    }
    return received;
}
