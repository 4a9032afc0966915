// SPDX-License-Identifier: MIT
#include "cli/status_view.h"

#include "base/log_names.h"

#include <algorithm>
#include <cstring>
#include <fmt/format.h>
#include <fmt/ranges.h>

namespace cloister::tool {
namespace {

using control::Reply;
using nlohmann::json;

/// A text of the daemon, whatever it is.
template <std::size_t N>
std::string text(const char (&bytes)[N]) {
    std::string shown{bytes, strnlen(bytes, N)};
    std::replace_if(
        shown.begin(), shown.end(), [](char c) { return c < ' ' || c > '~'; }, '?');
    return shown;
}

std::string state_name(Reply::State state) {
    constexpr const char* names[] = {"starting", "serving", "draining", "ending"};
    const auto at = static_cast<std::size_t>(state);
    return at < std::size(names) ? names[at] : "?";
}

std::string cause_name(std::uint32_t cause) {
    return cause == static_cast<std::uint32_t>(ExitReason::Closed) ? "rate"
           : cause < std::size(exit_reasons)                       ? std::string{exit_reasons[cause].name}
                                                                   : "?";
}

std::string source_text(const control::Source& source) {
    return control::SourceText{source}.text;
}

std::string refusal_name(std::uint32_t refusal) {
    return refusal < std::size(refusals) ? std::string{refusals[refusal].name} : "?";
}

/// `3h 12m`, `4m 10s`, `12s`.
std::string time_text(std::uint64_t ms) {
    const std::uint64_t s = (ms + 999) / 1000;
    return s >= 86400  ? fmt::format("{}d {}h", s / 86400, s % 86400 / 3600)
           : s >= 3600 ? fmt::format("{}h {}m", s / 3600, s % 3600 / 60)
           : s >= 60   ? fmt::format("{}m {}s", s / 60, s % 60)
                       : fmt::format("{}s", s);
}

/// A service, and what belongs to it.
struct Part {
    Reply::Service service;
    std::vector<Reply::Socket> sockets;
    std::vector<Reply::Generation> generations;
    std::vector<Reply::Penalised> penalised;
};

struct Status {
    Reply::Daemon daemon{};
    std::vector<Part> parts;
};

Status sorted(const Replies& replies) {
    Status status;
    for (const Reply& reply : replies) {
        if (reply.kind == Reply::Kind::Daemon) {
            status.daemon = reply.daemon;
        } else if (reply.kind == Reply::Kind::Service) {
            status.parts.push_back({reply.service, {}, {}, {}});
        } else if (status.parts.empty()) {
            continue;
        } else if (reply.kind == Reply::Kind::Socket) {
            status.parts.back().sockets.push_back(reply.socket);
        } else if (reply.kind == Reply::Kind::Generation) {
            status.parts.back().generations.push_back(reply.generation);
        } else if (reply.kind == Reply::Kind::Penalised) {
            status.parts.back().penalised.push_back(reply.penalised);
        }
    }
    return status;
}

std::uint64_t refused(const Reply::Service& service) {
    std::uint64_t all = 0;
    for (const auto count : service.refusals) {
        all += count;
    }
    return all;
}

/// The part of the same service.
const Part* find(const Status& status, const Part& part) {
    const auto found = std::find_if(status.parts.begin(), status.parts.end(), [&](const Part& one) {
        return text(one.service.name) == text(part.service.name);
    });
    return found == status.parts.end() ? nullptr : &*found;
}

/// `closed 10 · idle 2`, those that are not zero.
template <std::size_t N, typename Table>
std::string counts(const std::uint64_t (&numbers)[N], const Table& table) {
    std::vector<std::string> all;
    for (std::size_t i = 0; i < std::min(N, std::size(table)); ++i) {
        if (numbers[i] != 0) {
            all.push_back(fmt::format("{} {}", table[i].name, numbers[i]));
        }
    }
    return fmt::format("{}", fmt::join(all, ", "));
}

template <std::size_t N, typename Table>
json counts_json(const std::uint64_t (&numbers)[N], const Table& table) {
    json all = json::object();
    for (std::size_t i = 0; i < std::min(N, std::size(table)); ++i) {
        all[std::string{table[i].name}] = numbers[i];
    }
    return all;
}

std::string state_of(const Part& part) {
    std::string state = part.generations.empty() ? "down" : "starting";
    for (const auto& generation : part.generations) {
        if (generation.state == Reply::State::serving) {
            return "serving";
        }
        state = state_name(generation.state);
    }
    return state;
}

std::string confinement_of(const Reply::Generation& generation) {
    return fmt::format(
        "seccomp, {}, {}\n               speculation: store bypass {}, indirect branch {}",
        generation.landlock_abi == 0 ? "no Landlock"
                                     : fmt::format("Landlock (ABI {})", generation.landlock_abi),
        generation.bounding_empty != 0 ? "no capabilities" : "no capabilities (but in the bounding set)",
        name_of(generation.speculation.store_bypass), name_of(generation.speculation.indirect_branch));
}

} // namespace

json status_json(const Replies& replies) {
    const Status status = sorted(replies);
    json services = json::array();
    for (const Part& part : status.parts) {
        const Reply::Service& service = part.service;
        json one{{"name", text(service.name)},
                 {"handler", text(service.handler)},
                 {"state", state_of(part)},
                 {"live", service.live},
                 {"max_connections", service.max_connections},
                 {"configured_max_connections", service.configured},
                 {"reserved", service.reserved},
                 {"max_per_source", service.max_per_source},
                 {"connections", service.connections},
                 {"untracked", service.untracked},
                 {"penalised", service.penalised},
                 {"failures", service.failures},
                 {"ends", counts_json(service.ends, exit_reasons)},
                 {"refusals", counts_json(service.refusals, refusals)},
                 {"listen", json::array()},
                 {"generations", json::array()},
                 {"penalties", json::array()}};
        for (const auto& socket : part.sockets) {
            one["listen"].push_back(text(socket.name));
        }
        for (const auto& generation : part.generations) {
            one["generations"].push_back(
                {{"number", generation.number},
                 {"listener", generation.listener},
                 {"pid", generation.pid},
                 {"state", state_name(generation.state)},
                 {"live", generation.live},
                 {"landlock_abi", generation.landlock_abi},
                 {"capability_bounding_set_empty", generation.bounding_empty != 0},
                 {"store_bypass", name_of(generation.speculation.store_bypass)},
                 {"indirect_branch", name_of(generation.speculation.indirect_branch)}});
        }
        for (const auto& penalty : part.penalised) {
            one["penalties"].push_back({{"source", source_text(penalty.source)},
                                        {"reason", cause_name(penalty.cause)},
                                        {"turn", penalty.level},
                                        {"left_ms", penalty.left_ms}});
        }
        services.push_back(std::move(one));
    }
    return {{"version", text(status.daemon.version)},     {"pid", status.daemon.pid},
            {"state", state_name(status.daemon.state)},   {"uptime_ms", status.daemon.uptime_ms},
            {"reloads", status.daemon.reloads},           {"log_dropped", status.daemon.log_dropped},
            {"landlock_abi", status.daemon.landlock_abi}, {"services", services}};
}

std::string status_text(const Replies& replies, const Replies& before, double seconds) {
    const Status status = sorted(replies);
    const Status earlier = sorted(before);
    const Reply::Daemon& daemon = status.daemon;
    std::string all = fmt::format("cloisterd {}, process {}, {}, up {}", text(daemon.version), daemon.pid,
                                  state_name(daemon.state), time_text(daemon.uptime_ms));
    all += daemon.reloads == 0   ? ""
           : daemon.reloads == 1 ? ", reloaded once"
                                 : fmt::format(", reloaded {} times", daemon.reloads);
    all += daemon.landlock_abi == 0 ? ", not under Landlock"
                                    : fmt::format(", under Landlock (ABI {})", daemon.landlock_abi);
    all += daemon.log_dropped == 0 ? "\n" : fmt::format(", {} log records lost\n", daemon.log_dropped);
    for (const Part& part : status.parts) {
        const Reply::Service& service = part.service;
        const Part* const then = find(earlier, part);
        const auto per_second = [&](std::uint64_t now, std::uint64_t was) {
            return then == nullptr || seconds <= 0 || now < was
                       ? ""
                       : fmt::format(" ({:.0f}/s)", static_cast<double>(now - was) / seconds);
        };
        all += fmt::format("\n{} ({}): {}\n", text(service.name), text(service.handler), state_of(part));
        std::vector<std::string> names;
        for (const auto& socket : part.sockets) {
            names.push_back(text(socket.name));
        }
        all += fmt::format("  listens on   {}\n", fmt::join(names, ", "));
        constexpr unsigned width = 30;
        const auto filled = static_cast<unsigned>(
            std::min<std::uint64_t>(width, service.live * width / std::max(1U, service.max_connections)));
        all += fmt::format("  connections  [{:<{}}] {} of {}", std::string(filled, '#'), width, service.live,
                           service.max_connections);
        all += service.max_connections < service.configured
                   ? fmt::format(", a limit of the system binds before {}", service.configured)
                   : "";
        all += service.reserved == 0 ? "\n" : fmt::format(", {} kept for exempt clients\n", service.reserved);
        all += fmt::format("  served       {}{}\n", service.connections,
                           per_second(service.connections, then == nullptr ? 0 : then->service.connections));
        if (const auto ends = counts(service.ends, exit_reasons); !ends.empty()) {
            all += fmt::format("  ended        {}\n", ends);
        }
        if (const auto sum = refused(service); sum != 0) {
            all += fmt::format("  refused      {}{}: {}\n", sum,
                               per_second(sum, then == nullptr ? 0 : refused(then->service)),
                               counts(service.refusals, refusals));
        }
        if (service.untracked != 0) {
            all += fmt::format("  untracked    {} connections found no room in the source table\n",
                               service.untracked);
        }
        std::vector<std::string> generations;
        for (const auto& generation : part.generations) {
            generations.push_back(fmt::format(
                "{} {}, process {}, {} connections{}", generation.number, state_name(generation.state),
                generation.pid, generation.live,
                generation.listeners < 2
                    ? ""
                    : fmt::format(" (listener {} of {})", generation.listener, generation.listeners)));
        }
        if (!generations.empty()) {
            all += fmt::format("  generations  {}\n", fmt::join(generations, "\n               "));
        }
        for (const auto& generation : part.generations) {
            if (generation.state == Reply::State::serving) {
                all += fmt::format("  confined     {}\n", confinement_of(generation));
            }
        }
        if (service.penalised != 0) {
            all += fmt::format("  shut out     {}\n", service.penalised);
            constexpr std::size_t most = 5;
            for (std::size_t i = 0; i < std::min(most, part.penalised.size()); ++i) {
                const auto& one = part.penalised[i];
                all += fmt::format("               {}, {}, turn {}, for {}\n", source_text(one.source),
                                   cause_name(one.cause), one.level, time_text(one.left_ms));
            }
        }
    }
    return all;
}

json explain_json(const control::Source& source, const Replies& replies) {
    json services = json::array();
    for (const Reply& reply : replies) {
        if (reply.kind == Reply::Kind::Verdict) {
            const Reply::Verdict& verdict = reply.verdict;
            json one{{"service", text(verdict.service)}, {"source", source_text(verdict.source)},
                     {"exempt", verdict.exempt},         {"refused", verdict.refused},
                     {"known", verdict.known},           {"live", verdict.live}};
            if (verdict.refused) {
                one["reason"] = refusal_name(verdict.refusal);
                one["limit"] = verdict.limit;
                one["wait_ms"] = verdict.wait_ms;
            }
            if (verdict.level != 0) {
                one["penalty"] = {{"reason", cause_name(verdict.cause)}, {"turn", verdict.level}};
            }
            services.push_back(std::move(one));
        }
    }
    return {{"client", source_text(source)}, {"services", services}};
}

std::string explain_text(const control::Source& source, const Replies& replies) {
    std::string all;
    for (const Reply& reply : replies) {
        if (reply.kind != Reply::Kind::Verdict) {
            continue;
        }
        const Reply::Verdict& verdict = reply.verdict;
        all += fmt::format("{}: ", text(verdict.service));
        if (verdict.exempt) {
            all += fmt::format("{} is exempt from all limits of a source\n", source_text(source));
            continue;
        }
        const std::string its = source_text(verdict.source);
        const auto wait = time_text(verdict.wait_ms);
        switch (verdict.refused ? static_cast<Refusal>(verdict.refusal) : Refusal::Port) {
        case Refusal::Penalty:
            all += fmt::format(
                "refused for another {}: {} is shut out, turn {}, because {}\n", wait, its, verdict.level,
                verdict.cause == static_cast<std::uint32_t>(ExitReason::Closed)
                    ? "it was over its rate for too long (over-rate-penalty)"
                    : fmt::format("a cell of it ended with '{}' (penalty)", cause_name(verdict.cause)));
            break;
        case Refusal::Source:
        case Refusal::Network:
            all += fmt::format("refused: {} has {} connections, as many as {} allows\n", its, verdict.live,
                               verdict.refusal == static_cast<std::uint32_t>(Refusal::Source)
                                   ? "max-per-source"
                                   : "max-per-network");
            break;
        case Refusal::Rate:
        case Refusal::NetworkRate:
            all += fmt::format(
                "refused for another {} ms: {} connects more often than {} allows, {} a second\n",
                verdict.wait_ms, its,
                verdict.refusal == static_cast<std::uint32_t>(Refusal::Rate) ? "source-rate" : "network-rate",
                verdict.limit);
            break;
        case Refusal::Reserved:
            all += "refused: the places that are left are kept for exempt clients (reserve)\n";
            break;
        default:
            all += verdict.known ? fmt::format("admitted: {} has {} connections\n", its, verdict.live)
                                 : fmt::format("admitted: {} is not in the source table\n", its);
        }
    }
    return all;
}

} // namespace cloister::tool
