// SPDX-License-Identifier: MIT
#pragma once

#include "control/live_content.h"
#include "scripted/connection.h"

#include <algorithm>
#include <cstring>
#include <ctime>
#include <string>
#include <string_view>

/// What the handlers other than echo must do.
namespace cloister::scripted {

/// Receives until the end; sends nothing.
class DiscardKernel final : public ConnectionKernel {
  public:
    using ConnectionKernel::ConnectionKernel;
    [[nodiscard]] std::uint64_t missing() const override { return 0; }

  protected:
    [[nodiscard]] Next after_receiving(long /*size*/) override { return Next::Recv; }
};

/// Sends a text, ends its stream, and throws away what comes until the client's end.
class TellingKernel : public ConnectionKernel {
  public:
    using ConnectionKernel::ConnectionKernel;
    [[nodiscard]] std::uint64_t missing() const override { return unsent(); }

  protected:
    [[nodiscard]] std::uint64_t unsent() const { return text_.size() - sent(); }
    [[nodiscard]] std::uint8_t byte_sent(std::uint64_t at) const override {
        return at < text_.size() ? static_cast<std::uint8_t>(text_[at]) : std::uint8_t{0};
    }
    [[nodiscard]] Next after_sending() override { return Next::Shutdown; }
    [[nodiscard]] Next after_shutdown() override {
        told_ = true;
        return Next::Recv;
    }
    [[nodiscard]] Next after_receiving(long /*size*/) override { return Next::Recv; }
    [[nodiscard]] Next after_the_end() override { return told_ ? Next::Close : Next::Shutdown; }

    std::string text_;
    bool told_ = false;
};

/// The time that the script answers, as libc writes it.
class DaytimeKernel final : public TellingKernel {
  public:
    using TellingKernel::TellingKernel;

  protected:
    [[nodiscard]] Next after_setup() override { return Next::Clock; }
    void told_the_time(std::uint64_t seconds) override {
        const auto time = static_cast<std::time_t>(seconds);
        std::tm date{};
        (void)gmtime_r(&time, &date);
        char text[128];
        text_.assign(text, std::strftime(text, sizeof text, "%A, %B ", &date));
        text_ += std::to_string(date.tm_mday) + ", ";
        const std::string year = std::to_string(date.tm_year + 1900);
        text_ += std::string(4 - std::min<std::size_t>(year.size(), 4), '0') + year + " ";
        text_.append(text, std::strftime(text, sizeof text, "%H:%M:%S-UTC\r\n", &date));
    }
};

/// A handler with content, which answers at once, or after an empty line of `request`; behind it, the client
/// sends zeros.
class AskedKernel : public TellingKernel {
  public:
    AskedKernel(Script& script, bool after_request, std::string request)
        : TellingKernel{script}, after_request_{after_request}, request_{std::move(request)} {}

    /// A client that ends before it has asked gets nothing.
    [[nodiscard]] std::uint64_t missing() const override { return no_request_ ? 0 : unsent(); }

  protected:
    virtual void asked() {} ///< text_ is what is to be sent

    /// Where the cells' content stands.
    [[nodiscard]] static void* content() {
        auto* place = const_cast<control::Content*>(&control::cloister_content);
        asm("" : "+r"(place)); // it has more bytes than its type (content.cpp)
        return place;
    }
    [[nodiscard]] Next after_setup() override { return after_request_ ? Next::Recv : next_piece(); }
    [[nodiscard]] Next after_receiving(long size) override {
        if (told_ || asked_) {
            return Next::Recv;
        }
        // Which of the bytes that came ends the request: an oracle of its own, by lines.
        for (long i = 0; i < size; ++i) {
            const char c =
                static_cast<char>(byte_received(received() - static_cast<std::uint64_t>(size - i)));
            if (c != '\n') {
                line_ += c;
                continue;
            }
            if (++lines_ > 1 && line_.find_first_not_of('\r') == std::string::npos) {
                asked_ = true;
                asked();
                return next_piece();
            }
            if (lines_ == 1) {
                first_line_ = line_;
            }
            line_.clear();
        }
        return Next::Recv;
    }
    [[nodiscard]] Next after_the_end() override {
        no_request_ = !told_;
        return told_ ? Next::Close : Next::Shutdown;
    }
    [[nodiscard]] Next after_shutdown() override {
        return no_request_ ? Next::Close : TellingKernel::after_shutdown();
    }
    [[nodiscard]] Next after_sending() override { return unsent() == 0 ? Next::Shutdown : next_piece(); }
    [[nodiscard]] std::uint8_t byte_received(std::uint64_t at) const override {
        return at < request_.size() ? static_cast<std::uint8_t>(request_[at]) : std::uint8_t{0};
    }

    std::string first_line_;

  private:
    Next next_piece() {
        return expect_sending(static_cast<long>(std::min<std::uint64_t>(unsent(), cell::buffer_size)));
    }
    bool after_request_;
    bool asked_ = false;
    bool no_request_ = false;
    std::string request_;
    std::string line_;
    unsigned lines_ = 0;
};

class StaticKernel final : public AskedKernel {
  public:
    StaticKernel(Script& script, std::string content, bool after_request, std::string request)
        : AskedKernel{script, after_request, std::move(request)} {
        text_ = std::move(content);
        const control::Content header{text_.size(), after_request ? 1U : 0U};
        auto* const place = static_cast<char*>(AskedKernel::content());
        std::memcpy(place, &header, sizeof header);
        std::memcpy(place + sizeof header, text_.data(), text_.size());
    }
};

/// Pages of `size` bytes, no two alike; after each piece that was sent, `renewals` more are published.
class MetricsKernel final : public AskedKernel {
  public:
    MetricsKernel(Script& script, std::size_t size, unsigned renewals, std::string request)
        : AskedKernel{script, true, std::move(request)}, size_{size}, renewals_{renewals} {
        pages_.newest = 0;
        publish();
    }

  protected:
    void asked() override {
        const std::string_view line = first_line_;
        constexpr std::string_view path = "/metrics";
        if (!line.starts_with("GET ")) {
            text_ = error("405 Method Not Allowed\r\nAllow: GET");
        } else if (const auto rest = line.substr(4); !rest.starts_with(path) || rest.size() == path.size() ||
                                                     (rest[path.size()] != ' ' && rest[path.size()] != '?')) {
            text_ = error("404 Not Found");
        } else {
            text_ = page_;
        }
    }
    [[nodiscard]] Next after_sending() override {
        for (unsigned i = 0; i < renewals_; ++i) {
            publish();
            ++renewed_;
        }
        if (unsent() != 0 && renewed_ >= control::LiveContent::places - 1) {
            must_exit(cell::Exit::Stalled);
            return Next::Exit;
        }
        return AskedKernel::after_sending();
    }

  private:
    void publish() {
        page_.resize(size_);
        for (std::size_t i = 0; i < size_; ++i) {
            page_[i] = static_cast<char>(pattern(i + pages_.newest * 7919));
        }
        pages_.publish(page_.data(), page_.size());
    }
    static std::string error(const std::string& status) {
        return "HTTP/1.1 " + status +
               "\r\nContent-Type: text/plain\r\nContent-Length: 38\r\nConnection: close\r\n\r\n"
               "The metrics are at /metrics, by GET.\r\n";
    }
    control::LiveContent& pages_ = *static_cast<control::LiveContent*>(content());
    std::size_t size_;
    unsigned renewals_;
    unsigned renewed_ = 0;
    std::string page_;
};

} // namespace cloister::scripted
