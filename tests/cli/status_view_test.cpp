// SPDX-License-Identifier: MIT
#include "cli/status_view.h"

#include <cstring>
#include <gtest/gtest.h>

namespace cloister::tool {
namespace {

using control::Reply;

template <std::size_t N>
void put(char (&to)[N], std::string_view text) {
    to[text.copy(to, N - 1)] = '\0';
}

Replies example() {
    Reply daemon{Reply::Kind::Daemon};
    put(daemon.daemon.version, "0.1.0");
    daemon.daemon.pid = 4711;
    daemon.daemon.state = Reply::State::serving;
    daemon.daemon.uptime_ms = 3'720'000;
    daemon.daemon.landlock_abi = 6;
    Reply service{Reply::Kind::Service};
    put(service.service.name, "echo");
    put(service.service.handler, "echo");
    service.service.max_connections = 900;
    service.service.configured = 1000;
    service.service.live = 450;
    service.service.connections = 5000;
    service.service.ends[static_cast<std::size_t>(ExitReason::Closed)] = 4000;
    service.service.refusals[static_cast<std::size_t>(Refusal::Rate)] = 70;
    service.service.penalised = 1;
    Reply socket{Reply::Kind::Socket};
    put(socket.socket.name, "127.0.0.1:7");
    Reply generation{Reply::Kind::Generation};
    generation.generation = {2,
                             1,
                             1,
                             99,
                             Reply::State::serving,
                             450,
                             7,
                             1,
                             {control::SpeculationState::Disabled, control::SpeculationState::Vulnerable}};
    Reply penalised{Reply::Kind::Penalised};
    penalised.penalised = {*control::parse_source("192.0.2.7"),
                           static_cast<std::uint32_t>(ExitReason::Crashed), 2, 61'000};
    return {daemon, service, socket, generation, penalised};
}

TEST(StatusView, SaysWhatAPersonWantsToKnow) {
    EXPECT_EQ(status_text(example()),
              "cloisterd 0.1.0, process 4711, serving, up 1h 2m, under Landlock (ABI 6)\n"
              "\n"
              "echo (echo): serving\n"
              "  listens on   127.0.0.1:7\n"
              "  connections  [###############               ] 450 of 900, a limit of "
              "the system binds before 1000\n"
              "  served       5000\n"
              "  ended        closed 4000\n"
              "  refused      70: rate 70\n"
              "  generations  2 serving, process 99, 450 connections\n"
              "  confined     seccomp, Landlock (ABI 7), no capabilities\n"
              "               speculation: store bypass disabled, "
              "indirect branch vulnerable\n"
              "  shut out     1\n"
              "               192.0.2.7, crashed, turn 2, for 1m 1s\n");
}

TEST(StatusView, SaysWhatComesPerSecond) {
    auto before = example();
    before[1].service.connections = 4000;
    before[1].service.refusals[static_cast<std::size_t>(Refusal::Rate)] = 20;
    const auto text = status_text(example(), before, 10);
    EXPECT_NE(text.find("served       5000 (100/s)"), std::string::npos) << text;
    EXPECT_NE(text.find("refused      70 (5/s)"), std::string::npos) << text;
}

TEST(StatusView, HasEveryReasonInJson) {
    const auto all = status_json(example());
    const auto& service = all["services"].at(0);
    EXPECT_EQ(service["ends"].size(), std::size(exit_reasons));
    EXPECT_EQ(service["refusals"].size(), std::size(refusals));
    EXPECT_EQ(service["penalties"].at(0)["source"], "192.0.2.7");
    EXPECT_EQ(service["generations"].at(0)["state"], "serving");
}

TEST(StatusView, BelievesNothing) {
    auto replies = example();
    for (Reply& reply : replies) { // but for its kind
        const auto kind = reply.kind;
        std::memset(static_cast<void*>(&reply), 0xff, sizeof reply);
        reply.kind = kind;
    }
    const auto text = status_text(replies);
    EXPECT_EQ(text.find('\xff'), std::string::npos);
    EXPECT_EQ(text.find('\x1b'), std::string::npos);
    (void)status_json(replies).dump();
    EXPECT_EQ(status_text({replies[2], replies[3]}).find("serving"), std::string::npos) << "of no service";
}

TEST(StatusView, ExplainsEachRefusal) {
    const auto source = *control::parse_source("192.0.2.7");
    for (const RefusalText& refusal : refusals) {
        Reply reply{Reply::Kind::Verdict};
        put(reply.verdict.service, "echo");
        reply.verdict.source = source;
        reply.verdict.refused = true;
        reply.verdict.refusal = static_cast<std::uint32_t>(refusal.refusal);
        reply.verdict.wait_ms = 5000;
        const auto text = explain_text(source, {reply});
        const bool by_port = refusal.refusal == Refusal::Loop || refusal.refusal == Refusal::Port;
        EXPECT_EQ(text.starts_with("echo: refused"), !by_port) << refusal.name << ": " << text;
        EXPECT_EQ(explain_json(source, {reply})["services"].at(0)["reason"], refusal.name);
    }
}

} // namespace
} // namespace cloister::tool
