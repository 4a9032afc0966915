// SPDX-License-Identifier: MIT
#include "supervisor/metrics.h"

#include "base/log_names.h"
#include "base/memory_file.h"
#include "base/metric_names.h"
#include "config/model.h"
#include "supervisor/live_pages.h"

#include <atomic>
#include <cstring>
#include <fcntl.h>
#include <fmt/core.h>
#include <gmock/gmock.h>
#include <set>
#include <sstream>
#include <sys/mman.h>
#include <thread>
#include <unistd.h>

namespace cloister::supervisor {
namespace {

Metrics two_services() {
    Metrics metrics;
    metrics.version = "1.2.3";
    metrics.now = 1795784370.5;
    metrics.started = 1795784000.25;
    metrics.reloads = 7;
    metrics.bounds = {{"kernel.pid_max", 100, 90, true, ""}};
    for (const char* name : {"a", "b"}) {
        Metrics::Service service{
            control::Reply{control::Reply::Kind::Service}.service, "ab12", {0, 1, 2, 0}, 1'500'000};
        std::strcpy(service.counts.name, name);
        std::strcpy(service.counts.handler, "echo");
        service.counts.ends[static_cast<std::size_t>(ExitReason::Violation)] = 5;
        service.counts.refusals[static_cast<std::size_t>(Refusal::Loop)] = 6;
        metrics.services.push_back(service);
    }
    return metrics;
}

std::string body_of(const std::string& page) {
    return page.substr(page.find("\r\n\r\n") + 4);
}

TEST(MetricsPage, IsAnAnswerOfHttpWithItsLength) {
    const std::string page = page_of(two_services());
    EXPECT_THAT(page, testing::StartsWith("HTTP/1.1 200 OK\r\n"));
    EXPECT_THAT(page, testing::HasSubstr(fmt::format("\r\nContent-Length: {}\r\n", body_of(page).size())));
    EXPECT_THAT(page, testing::EndsWith("\n# EOF\n"));
}

TEST(MetricsPage, HasEachMetricOfTheTableOnceAndNothingElse) {
    std::istringstream lines{body_of(page_of(two_services()))};
    std::vector<std::string> families;
    std::set<std::string> samples;
    for (std::string line; std::getline(lines, line) && line != "# EOF";) {
        if (line.starts_with("# TYPE ")) {
            families.push_back(line.substr(7));
        } else if (!line.starts_with("#")) {
            const MetricText& metric = metrics[families.size() - 1];
            const std::string name = fmt::format("{}{}", metric.name, suffix_of(metric.type));
            EXPECT_TRUE(line.starts_with(name + " ") || line.starts_with(name + "{")) << line;
            const std::string labels =
                line.find('{') == std::string::npos
                    ? ""
                    : line.substr(line.find('{') + 1, line.find('}') - line.find('{') - 1);
            std::string names;
            std::istringstream parts{labels};
            for (std::string part; std::getline(parts, part, ',');) {
                names += (names.empty() ? "" : " ") + part.substr(0, part.find('='));
            }
            EXPECT_EQ(names, metric.labels) << line;
            EXPECT_TRUE(samples.insert(line.substr(0, line.rfind(' '))).second) << line;
        }
    }
    std::vector<std::string> expected;
    for (const MetricText& metric : metrics) {
        expected.push_back(fmt::format("{} {}", metric.name, name_of(metric.type)));
    }
    EXPECT_EQ(families, expected);
}

TEST(MetricsPage, SaysWhatIsCounted) {
    const std::string page = page_of(two_services());
    for (const char* line :
         {"cloister_build_info{version=\"1.2.3\",service=\"a\",handler=\"echo\",policy_sha256=\"ab12\"} 1\n",
          "cloister_start_time_seconds 1795784000.250\n", "cloister_reloads_total 7\n",
          "cloister_system_limit_connections{limit=\"kernel.pid_max\"} 90\n",
          "cloister_ends_total{service=\"b\",reason=\"violation\"} 5\n",
          "cloister_ends_total{service=\"b\",reason=\"closed\"} 0\n",
          "cloister_violations_total{service=\"a\"} 5\n",
          "cloister_refusals_total{service=\"a\",reason=\"loop\"} 6\n",
          "cloister_generations{service=\"a\",state=\"draining\"} 2\n",
          "cloister_cell_setup_seconds{service=\"a\"} 0.001500000\n"}) {
        EXPECT_THAT(page, testing::HasSubstr(line));
    }
}

TEST(MetricsPage, OfAsManyServicesAsThereMayBeHasRoom) {
    Metrics metrics = two_services();
    while (metrics.services.size() < config::max_services) {
        metrics.services.push_back(metrics.services.front());
        Metrics::Service& service = metrics.services.back();
        std::memset(service.counts.name, 'x', 32);
        std::memset(&service.counts.live, 0x7f, sizeof service.counts.live);
        for (auto& count : service.counts.ends) {
            count = UINT64_MAX;
        }
        for (auto& count : service.counts.refusals) {
            count = UINT64_MAX;
        }
        service.policy_sha256 = std::string(64, 'f');
    }
    EXPECT_LT(page_of(metrics).size(), control::LiveContent::longest);
}

TEST(LivePages, CanBeWrittenByNobodyElse) {
    const auto pages = LivePages::create("first");
    ASSERT_TRUE(pages);
    const int fd = pages->fd();
    EXPECT_EQ(::pwrite(fd, "x", 1, 0), -1);
    EXPECT_EQ(errno, EPERM);
    EXPECT_EQ(::mmap(nullptr, LivePages::size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);
    EXPECT_EQ(::ftruncate(fd, 0), -1);
    EXPECT_EQ(::fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
    void* const readable = ::mmap(nullptr, LivePages::size, PROT_READ, MAP_SHARED, fd, 0);
    ASSERT_NE(readable, MAP_FAILED);
    EXPECT_EQ(::mprotect(readable, LivePages::size, PROT_READ | PROT_WRITE), -1);
    EXPECT_EQ(::munmap(readable, LivePages::size), 0);
}

/// A reader that copies as a cell does, while pages of one letter each are published without pause.
TEST(LivePages, AreNeverReadTorn) {
    auto pages = LivePages::create(std::string(60'000, 'a'));
    ASSERT_TRUE(pages);
    void* const map = ::mmap(nullptr, LivePages::size, PROT_READ, MAP_SHARED, pages->fd(), 0);
    ASSERT_NE(map, MAP_FAILED);
    const auto& live = *static_cast<const control::LiveContent*>(map);
    std::atomic<bool> stop{false};
    std::thread writer{[&] {
        for (unsigned i = 0; !stop; ++i) {
            pages->publish(std::string(50'000 + i % 7 * 1000, static_cast<char>('a' + i % 26)));
        }
    }};
    unsigned whole = 0, torn = 0;
    std::vector<char> copy(control::LiveContent::longest);
    for (int i = 0; i < 20'000; ++i) {
        const std::uint64_t number = live.newest_page();
        const auto& page = live.page(number);
        const std::uint64_t size = std::min<std::uint64_t>(page.size, copy.size());
        std::memcpy(copy.data(), page.bytes, size);
        if (!live.is_whole(number)) {
            continue;
        }
        ++whole;
        torn += static_cast<std::size_t>(
                    std::count(copy.begin(), copy.begin() + static_cast<long>(size), copy[0])) == size
                    ? 0U
                    : 1U;
    }
    stop = true;
    writer.join();
    EXPECT_GT(whole, 0U);
    EXPECT_EQ(torn, 0U);
    EXPECT_EQ(::munmap(map, LivePages::size), 0);
}

} // namespace
} // namespace cloister::supervisor
