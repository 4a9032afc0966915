// SPDX-License-Identifier: MIT
#include "supervisor/handover.h"

#include <gtest/gtest.h>
#include <string>

namespace cloister::supervisor {
namespace {

Handover example() {
    Handover state;
    state.pid = 4711;
    state.release = "0.1.0";
    state.started_ns = 123'456'789'012;
    state.reloads = 3;
    state.reload_failures = 2;
    state.file_access = {7, {"/etc/cloister", "/a b\n"}, {"/run/x"}, {"/usr/sbin"}};
    state.groups_empty = true;
    state.relay = 4712;
    state.pipes = {{3, 4}, {5, 6}};
    state.oom_score = 7;
    state.control = Handover::Socket{8, true, false, "unix:/run/x", 9, "x", 2, 3};
    state.services = {{"echo", 1, 1, 10, {{11, false, true, "", -1, "", 0, 0}}, {{2, 99, 12, 1, true, 400}}},
                      {"a \n name", 0, 2, 13, {}, {}}};
    return state;
}

TEST(Handover, IsReadAsItWasWritten) {
    const auto read = decode(encode(example()));
    ASSERT_TRUE(read) << read.error();
    EXPECT_EQ(*read, example());
    EXPECT_EQ(descriptors_of(*read), (std::vector<int>{7, 3, 4, 5, 6, 8, 9, 10, 11, 12, 13}));
}

TEST(Handover, PassesOverWhatALaterReleaseAdds) {
    std::string text = encode(example());
    text.insert(text.find("relay"), "a-later-word 1 2 xff\n");
    text.insert(text.find("\nservice"), " 7 8");
    const auto read = decode(text);
    ASSERT_TRUE(read) << read.error();
    EXPECT_EQ(*read, example());
}

TEST(Handover, OfAnotherVersionIsRefused) {
    std::string text = encode(example());
    text.replace(text.find("state 2"), 7, "state 1");
    EXPECT_FALSE(decode(text));
    EXPECT_FALSE(decode(""));
    EXPECT_FALSE(decode("cloister-state 2"));
}

TEST(Handover, ThatIsCutShortOrDamagedIsRefused) {
    const std::string text = encode(example());
    for (std::size_t size = 0; size + 1 < text.size(); ++size) {
        if (const auto read = decode(text.substr(0, size)); read) {
            EXPECT_EQ(*read, example()) << "nothing but the last line feed may be missing";
            EXPECT_EQ(size, text.size() - 1);
        }
    }
    for (const char* line :
         {"process x y z 1\n", "service echo 0 1 2\n", "service xzz 0 1 2\n", "service x6 0 1 2\n",
          "service x65 1 2\n", "pipe 1\n", "pipe 1 two\n", "relay 99999999999999999999\n"}) {
        std::string damaged = text;
        damaged.insert(damaged.find("relay"), line);
        EXPECT_FALSE(decode(damaged)) << line;
    }
    EXPECT_FALSE(decode(confirmation() + "\nsocket 1 0 0 x -1 x 0 0\nend\n")) << "of no service";
}

} // namespace
} // namespace cloister::supervisor
