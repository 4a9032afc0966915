// SPDX-License-Identifier: MIT
// What the child hands over is believed only as far as it was checked.
#include "config/wire.h"

#include <cstring>
#include <functional>
#include <gmock/gmock.h>

namespace cloister::config {
namespace {

constexpr const char* text =
    "user = \"x\"\n[defaults]\nlifetime = \"1s\"\n[[service]]\nname = \"a\"\n"
    "listen = [\"127.0.0.1:1\", \"127.0.0.1:2\"]\ncontent = \"/c\"\nlog = 1\n[[service]]\n";
constexpr unsigned lines = 10;

FileModel model() {
    return {{{Key::user, {0, "x"}, 1, 8}},
            {{Key::lifetime, {1000, ""}, 3, 12}},
            {{4,
              1,
              {{Key::name, {0, "a"}, 5, 8},
               {Key::listen, {0, "127.0.0.1:1"}, 6, 11},
               {Key::listen, {0, "127.0.0.1:2"}, 6, 26},
               {Key::content, {0, "/c"}, 7, 11}}},
             {9, 1, {{Key::name, {0, "b"}, 9, 8}}}}};
}

std::span<const char> bytes_of(const Wire& wire) {
    return {reinterpret_cast<const char*>(&wire), sizeof wire};
}

TEST(WireModel, ComesBackAsItWas) {
    EXPECT_TRUE(decode(bytes_of(*encode(model())), lines).value() == FileResult{model()});
    EXPECT_TRUE(decode(bytes_of(*encode(FileModel{})), 1).value() == FileResult{FileModel{}});
    const FileResult error = tl::unexpected{FileError{3, 7, "what is wrong"}};
    EXPECT_TRUE(decode(bytes_of(*encode(error)), lines).value() == error);
}

TEST(WireModel, HasRoomForTheLargestThatAFileCanHave) {
    FileModel largest;
    for (size_t s = 0; s < max_services; ++s) {
        FileService service{1, 1, {}};
        for (const auto& spec : specs()) {
            for (size_t n = 0; of_service(spec) && n < (spec.key == Key::listen ? 4U : 1U); ++n) {
                service.values.push_back({spec.key, {0, "x"}, 1, 1});
            }
        }
        largest.services.push_back(service);
    }
    for (const auto& spec : specs()) {
        (spec.scope == Scope::limit ? largest.defaults : largest.daemon).push_back({spec.key, {}, 1, 1});
    }
    EXPECT_EQ(encode(largest)->service_count, max_services);
    largest.services[0].values.assign(Wire::max_values, {Key::name, {}, 1, 1});
    EXPECT_THROW((void)encode(largest), std::length_error);
}

TEST(WireModel, IsRefusedIfAnythingInItCanNotBe) {
    const auto refused = [](const std::function<void(Wire&)>& change) {
        auto wire = encode(model());
        change(*wire);
        const auto decoded = decode(bytes_of(*wire), lines);
        return decoded ? "it was believed" : decoded.error();
    };
    const std::string nothing = "no model of a configuration file";
    EXPECT_EQ(refused([](Wire& wire) { wire.magic[7] = '2'; }), nothing);
    EXPECT_EQ(refused([](Wire& wire) { wire.size--; }), nothing);
    EXPECT_EQ(refused([](Wire& wire) { wire.failed = 2; }), "a result that is neither a model nor an error");
    const std::string room = "more than there is room for";
    EXPECT_EQ(refused([](Wire& wire) { wire.service_count = max_services + 1; }), room);
    EXPECT_EQ(refused([](Wire& wire) { wire.value_count = Wire::max_values + 1; }), room);
    EXPECT_EQ(refused([](Wire& wire) { wire.pool_size = Wire::max_pool + 1; }), room);
    EXPECT_EQ(refused([](Wire& wire) { wire.services[0].line = 0; }), "a service outside of the file");
    EXPECT_EQ(refused([](Wire& wire) { wire.services[1].line = lines + 1; }),
              "a service outside of the file");
    EXPECT_EQ(refused([](Wire& wire) { wire.values[0].key = key_count; }), "a key that there is not");
    const std::string place = "a key where it can't stand";
    EXPECT_EQ(refused([](Wire& wire) { wire.values[0].table = 0; }), place);
    EXPECT_EQ(refused([](Wire& wire) { wire.values[1].table = Wire::at_top; }), place);
    EXPECT_EQ(refused([](Wire& wire) { wire.values[2].table = Wire::in_defaults; }), place);
    EXPECT_EQ(refused([](Wire& wire) { wire.values[2].table = 2; }), place);
    EXPECT_EQ(refused([](Wire& wire) { wire.values[2].key = static_cast<std::uint16_t>(Key::check); }),
              place);
    EXPECT_EQ(refused([](Wire& wire) { wire.values[0].line = 0; }), "a value outside of the file");
    EXPECT_EQ(refused([](Wire& wire) { wire.values[0].column = 0; }), "a value outside of the file");
    EXPECT_EQ(refused([](Wire& wire) { wire.values[0].column = ~0U; }), "a value outside of the file");
    const std::string pool = "a text outside of its room";
    EXPECT_EQ(refused([](Wire& wire) { wire.values[0].text = {wire.pool_size, 1}; }), pool);
    EXPECT_EQ(refused([](Wire& wire) { wire.values[0].text = {~0U, 2}; }), pool);
    EXPECT_EQ(refused([](Wire& wire) { wire.values[0].text = {1, ~0U}; }), pool);
    EXPECT_EQ(refused([](Wire& wire) {
                  wire.pool_size = max_text + 1;
                  std::memset(wire.pool, 'x', wire.pool_size);
                  wire.values[0].text = {0, max_text + 1};
              }),
              pool);
    const std::string range = "a value that is out of range";
    EXPECT_EQ(refused([](Wire& wire) { wire.values[1].number = 0; }), range);
    EXPECT_EQ(refused([](Wire& wire) { wire.values[1].number = 86'400'001; }), range);
    EXPECT_EQ(refused([](Wire& wire) { wire.values[1].text = {0, 1}; }), range) << "a number with a text";
    EXPECT_EQ(refused([](Wire& wire) { wire.values[0].number = 1; }), range) << "a text with a number";
    EXPECT_EQ(refused([](Wire& wire) { wire.pool[0] = '\0'; }), range);
    EXPECT_EQ(refused([](Wire& wire) { wire.pool[wire.values[2].text.offset] = '/'; }), range);
    EXPECT_EQ(refused([](Wire& wire) { wire.pool[wire.values[5].text.offset] = 'c'; }), range)
        << "a relative path";
    EXPECT_EQ(refused([](Wire& wire) {
                  wire.values[1].key = static_cast<std::uint16_t>(Key::cpu_limit);
                  wire.values[1].number = 1500;
              }),
              range);
    EXPECT_EQ(refused([](Wire& wire) {
                  wire.values[0].key = static_cast<std::uint16_t>(Key::log_format);
                  wire.values[0].text = {};
                  wire.values[0].number = 2;
              }),
              range);
    EXPECT_EQ(refused([](Wire& wire) { wire.values[wire.value_count++] = wire.values[0]; }),
              "a key too often");
    EXPECT_EQ(refused([](Wire& wire) {
                  for (size_t i = 0; i < max_listening_sockets; ++i) {
                      wire.values[wire.value_count++] = wire.values[3];
                  }
              }),
              "a key too often");
    EXPECT_EQ(refused([](Wire& wire) {
                  for (std::uint16_t s = 0; s < 5; ++s) {
                      wire.services[s] = {1, 1};
                      for (size_t i = 0; i < max_listening_sockets; ++i) {
                          wire.values[wire.value_count] = wire.values[3];
                          wire.values[wire.value_count++].table = s;
                      }
                  }
                  wire.service_count = 5;
                  wire.values[3].table = wire.values[4].table = 4;
                  wire.value_count -= 2;
              }),
              "too many addresses");
    const std::string name = "a service without a name of its own";
    EXPECT_EQ(refused([](Wire& wire) { wire.value_count--; }), name);
    EXPECT_EQ(refused([](Wire& wire) {
                  wire.service_count = 3;
                  wire.services[2] = {1, 1};
              }),
              name);
    EXPECT_EQ(refused([](Wire& wire) { wire.pool[wire.values[6].text.offset] = 'a'; }), name);
}

TEST(WireModel, IsRefusedWithAnErrorThatCanNotBe) {
    const auto refused = [](const std::function<void(Wire&)>& change) {
        auto wire = encode(tl::unexpected{FileError{3, 7, "what is wrong"}});
        change(*wire);
        const auto decoded = decode(bytes_of(*wire), lines);
        return decoded ? "it was believed" : decoded.error();
    };
    const std::string length = "an error without a text, or with too long a one";
    EXPECT_EQ(refused([](Wire& wire) { wire.error_length = 0; }), length);
    EXPECT_EQ(refused([](Wire& wire) { wire.error_length = max_error + 1; }), length);
    EXPECT_EQ(refused([](Wire& wire) { wire.error_length = ~0U; }), length);
    const std::string printed = "an error outside of the file, or one that can't be printed";
    EXPECT_EQ(refused([](Wire& wire) { wire.error[0] = '\x1b'; }), printed);
    EXPECT_EQ(refused([](Wire& wire) { wire.error[0] = '\n'; }), printed);
    EXPECT_EQ(refused([](Wire& wire) { wire.error_length++; }), printed);
    EXPECT_EQ(refused([](Wire& wire) { wire.error_at.line = lines + 1; }), printed);
    EXPECT_EQ(refused([](Wire& wire) { wire.error_at.column = 0; }), printed);
}

TEST(WireModel, IsRefusedIfItIsTooShortOrTooLong) {
    const auto wire = encode(model());
    std::vector<char> bytes{bytes_of(*wire).begin(), bytes_of(*wire).end()};
    EXPECT_TRUE(decode(bytes, lines));
    bytes.push_back(0);
    EXPECT_FALSE(decode(bytes, lines));
    bytes.resize(bytes.size() - 2);
    EXPECT_FALSE(decode(bytes, lines));
    EXPECT_FALSE(decode({}, lines));
}

TEST(WireModel, ControlThatTheTextOfTheseTestsHasSoManyLines) {
    EXPECT_EQ(std::count(text, text + std::strlen(text), '\n') + 1, lines);
}

} // namespace
} // namespace cloister::config
