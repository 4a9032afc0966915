// SPDX-License-Identifier: MIT
#include "listener/refusals.h"

#include "listener/server.h"

#include <utility>

namespace cloister::listener {

bool Refusals::count(Refusal refusal, const control::Source& source, std::int64_t now_ns) {
    if (!any_) {
        any_ = true;
        window_start_ns_ = now_ns;
    }
    if (total_++ == 0) {
        minute_start_ns_ = now_ns;
    }
    if (votes_ == 0) {
        candidate_ = source;
        its_ = 0;
    }
    const bool votes_for = source == candidate_;
    votes_ += votes_for ? 1 : std::uint64_t{0} - 1;
    its_ += votes_for ? 1 : 0;
    return ++seen_[static_cast<std::size_t>(refusal)] <= records;
}

Refusals::More Refusals::take_more(std::int64_t now_ns) {
    More more{};
    if (any_ && now_ns - window_start_ns_ >= window_ns) {
        any_ = false;
        for (std::size_t i = 0; i < more.size(); ++i) {
            const std::uint64_t seen = std::exchange(seen_[i], 0);
            more[i] = seen > records ? seen - records : 0;
        }
    }
    return more;
}

Refusals::Majority Refusals::take_majority(std::int64_t now_ns) {
    if (total_ == 0 || now_ns - minute_start_ns_ < minute_ns) {
        return {};
    }
    const Majority majority{candidate_, its_, std::exchange(total_, 0)};
    votes_ = 0;
    const bool has = majority.of >= least && 2 * majority.count > majority.of &&
                     majority.source.kind != control::Source::Kind::none;
    return has ? majority : Majority{};
}

/// Counts and logs a client that gets no cell.
void Server::turn_away(std::uint32_t socket, const Peer& peer, const Admission::Verdict& verdict) {
    const Refusal refusal = *verdict.refusal;
    admission_.counters().refusals[static_cast<std::size_t>(refusal)].fetch_add(1, std::memory_order_relaxed);
    if (!refusals_.count(refusal, verdict.source, now_ns_)) {
        return;
    }
    Record refused = record(Level::info, "refused");
    refused.text("reason", text_of(refusal).name).text("socket", launch_.sockets[socket].name());
    refused.text("peer", PeerText{peer}.text);
    if (verdict.source.kind != control::Source::Kind::none) {
        refused.text("source", control::SourceText{verdict.source}.text);
    }
    if (verdict.limit != 0) {
        refused.number("limit", static_cast<std::int64_t>(verdict.limit));
    }
    if (verdict.wait_ms != 0) {
        refused.number("wait_ms", static_cast<std::int64_t>(verdict.wait_ms));
    }
    log(refused);
}

void Server::log_penalty(const std::optional<Admission::Penalised>& penalised) {
    if (!penalised) {
        return;
    }
    const auto& [source, penalty] = *penalised;
    Record shut_out = record(Level::warning, "penalty");
    shut_out.text("source", control::SourceText{source}.text);
    shut_out.text("reason", penalty.cause == ExitReason::Closed ? text_of(Refusal::Rate).name
                                                                : text_of(penalty.cause).name);
    shut_out.number("turn", penalty.level);
    shut_out.number("duration_ms", static_cast<std::int64_t>(penalty.until_ms) - now_ns_ / 1'000'000);
    log(shut_out);
}

/// Once a second.
void Server::log_more_refusals() {
    const auto more = refusals_.take_more(now_ns_);
    for (std::size_t i = 0; i < more.size(); ++i) {
        if (more[i] != 0) {
            Record refused = record(Level::info, "refused");
            refused.text("reason", refusals[i].name).number("more", static_cast<std::int64_t>(more[i]));
            log(refused);
        }
    }
    if (const auto majority = refusals_.take_majority(now_ns_); majority.count != 0) {
        Record mostly = record(Level::warning, "refused_mostly");
        mostly.text("source", control::SourceText{majority.source}.text);
        mostly.number("count", static_cast<std::int64_t>(majority.count));
        mostly.number("of", static_cast<std::int64_t>(majority.of));
        mostly.text("message", "if this is a proxy or a balancer, every client behind it is one source; "
                               "exempt it (--exempt), and limit its clients there");
        log(mostly);
    }
}

} // namespace cloister::listener
