// SPDX-License-Identifier: MIT
// cloister-load: clients for an echo server that check every byte that comes back.
#include "load.h"
#include "pattern.h"

#include <arpa/inet.h>
#include <array>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fmt/format.h>
#include <getopt.h>
#include <sys/resource.h>

namespace cloister::bench {

namespace {

using namespace std::chrono_literals;
constexpr int usage_error = 64;

constexpr std::string_view help = R"(usage: cloister-load MODE TARGET [options]

Loads an echo server and checks every byte that comes back. TARGET is ADDR:PORT, [ADDR]:PORT or unix:/path.
The result is one JSON object on stdout; exit code 0, or 1 if any connection failed, or 64 for a wrong command line.

modes
  rate        many short connections: connect, send, get it back, close, next
  idle        open connections and hold them until stdin ends (or --duration); prints a line when all are up.
              More than one process may have descriptors for are spread over several
  stream      as many bytes as go through
  pingpong    round trips, one after the other, on one connection
  paced       connections at fixed times, each as --close early does it; the latency counts from its time
  hold        open connections at a fixed rate and keep them, up to --connections; what is lost is opened again
  storm       connect and close (--close plain) or send a byte and reset (--close reset), at a fixed rate
  syn         SYN packets that nobody continues, by a raw socket (CAP_NET_RAW)
              hold, storm and syn end by SIGTERM, too, and report

options (sizes 64 4K 1M 2G, durations 500ms 10s 2m)
  --connections N   at a time (rate 16, idle 900, stream 1)
  --total N         rate: connections in all; pingpong: trips in all; instead of --duration
  --bytes SIZE      of a message (64); stream: bytes of each connection, instead of --duration
  --duration T      (rate, stream, pingpong 5s; idle: no end)
  --warm-up T       checked but not counted, before the duration (0)
  --timeout T       a connection without progress has failed (10s)
  --close HOW       rate: half (all back, shut down, await the end, close), early (shut down with the last byte,
                    all back, await the end, close: cheapest), plain (all back, close), reset (close with a RST)
  --close-rate R    idle: how many are closed in a second (5000), or 'all' at the same moment
  --rate R          paced, hold, storm, syn: new connections in a second (100)
  --say HOW         hold: once (a byte, then silence), trickle (a byte each second), flood (sends what it can and
                    never receives)
  --echo            idle: each connection first has one message echoed
  --sources N       addresses of 127.0.1.0/24 that clients of a 127/8 target come from (64; 1: the kernel's choice);
                    with --from any number
  --from ADDR       the first source, an IPv4 address that is routed to this host; no interface needs to have it
  --step N          from one source to the next (1; 256: each in a /24 network of its own)
  --help
)";

[[noreturn]] void wrong(std::string_view message) {
    fmt::print(stderr, "cloister-load: {}\nTry 'cloister-load --help'.\n", message);
    std::exit(usage_error);
}

/// A whole number from 1 and what follows it.
std::uint64_t number(std::string_view option, std::string_view text, std::string_view& unit) {
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || value == 0) {
        wrong(fmt::format("--{}: '{}' is not a number from 1", option, text));
    }
    unit = text.substr(static_cast<std::size_t>(end - text.data()));
    return value;
}

struct Unit {
    std::string_view name;
    std::uint64_t factor;
};
constexpr std::array size_units{Unit{"", 1}, Unit{"K", 1 << 10}, Unit{"M", 1 << 20}, Unit{"G", 1 << 30}};
constexpr std::array time_units{Unit{"ms", 1}, Unit{"s", 1000}, Unit{"m", 60000}};
constexpr std::array no_units{Unit{"", 1}};

template <std::size_t N>
std::uint64_t quantity(std::string_view option, std::string_view text, const std::array<Unit, N>& units) {
    std::string_view unit;
    const std::uint64_t value = number(option, text, unit);
    for (const Unit& known : units) {
        if (unit == known.name && value <= (std::uint64_t{1} << 50) / known.factor) {
            return value * known.factor;
        }
    }
    std::string names;
    for (const Unit& known : units) {
        names += fmt::format(" {}{}", 10, known.name);
    }
    wrong(fmt::format("--{}: '{}' is not understood; write something like{}", option, text, names));
}

std::chrono::milliseconds duration(std::string_view option, std::string_view text) {
    return std::chrono::milliseconds{quantity(option, text, time_units)};
}

unsigned count(std::string_view option, std::string_view text, std::uint64_t most) {
    const std::uint64_t value = quantity(option, text, no_units);
    if (value > most) {
        wrong(fmt::format("--{}: {} is more than {}", option, value, most));
    }
    return static_cast<unsigned>(value);
}

Close close_mode(std::string_view text) {
    if (text == "early") {
        return Close::Early;
    }
    if (text == "half") {
        return Close::Half;
    }
    if (text == "plain") {
        return Close::Plain;
    }
    if (text == "reset") {
        return Close::Reset;
    }
    wrong(fmt::format("--close: '{}' is neither early, half, plain nor reset", text));
}

Say say_mode(std::string_view text) {
    if (text == "once") {
        return Say::Once;
    }
    if (text == "trickle") {
        return Say::Trickle;
    }
    if (text == "flood") {
        return Say::Flood;
    }
    wrong(fmt::format("--say: '{}' is neither once, trickle nor flood", text));
}

std::uint32_t first_source(const char* text) {
    in_addr address{};
    if (::inet_pton(AF_INET, text, &address) != 1) {
        wrong(fmt::format("--from: '{}' is not an IPv4 address", text));
    }
    return ntohl(address.s_addr);
}

struct Mode {
    std::string_view name;
    int (*run)(const Options&);
    unsigned connections;
    std::uint64_t bytes;
    std::chrono::milliseconds duration;
};
constexpr std::array modes{Mode{"rate", run_rate, 16, 64, 5s},     Mode{"idle", run_idle, 900, 64, 0s},
                           Mode{"stream", run_stream, 1, 0, 5s},   Mode{"pingpong", run_pingpong, 1, 64, 5s},
                           Mode{"paced", run_paced, 1000, 64, 5s}, Mode{"hold", run_hold, 1000, 1, 5s},
                           Mode{"storm", run_storm, 1000, 1, 5s},  Mode{"syn", run_syn, 1, 1, 5s}};

Options parse_options(int argc, char** argv, const Mode*& mode) {
    constexpr std::array<option, 16> known{{{"connections", required_argument, nullptr, 'c'},
                                            {"total", required_argument, nullptr, 't'},
                                            {"bytes", required_argument, nullptr, 'b'},
                                            {"duration", required_argument, nullptr, 'd'},
                                            {"warm-up", required_argument, nullptr, 'w'},
                                            {"timeout", required_argument, nullptr, 'o'},
                                            {"close", required_argument, nullptr, 'l'},
                                            {"close-rate", required_argument, nullptr, 'r'},
                                            {"echo", no_argument, nullptr, 'e'},
                                            {"sources", required_argument, nullptr, 's'},
                                            {"from", required_argument, nullptr, 'f'},
                                            {"step", required_argument, nullptr, 'p'},
                                            {"rate", required_argument, nullptr, 'R'},
                                            {"say", required_argument, nullptr, 'y'},
                                            {"help", no_argument, nullptr, 'h'},
                                            {nullptr, 0, nullptr, 0}}};
    Options options;
    options.timeout = 10s;
    options.sources.count = 64;
    options.rate = 100;
    options.close_rate = 5000;
    std::uint64_t bytes = 0;
    std::chrono::milliseconds asked_duration{0};
    for (int c = 0; (c = getopt_long(argc, argv, "", known.data(), nullptr)) != -1;) {
        switch (c) {
        case 'c':
            options.connections = count("connections", optarg, 1000000);
            break;
        case 't':
            options.total = quantity("total", optarg, no_units);
            break;
        case 'b':
            bytes = quantity("bytes", optarg, size_units);
            break;
        case 'd':
            asked_duration = duration("duration", optarg);
            break;
        case 'w':
            options.warm_up = duration("warm-up", optarg);
            break;
        case 'o':
            options.timeout = duration("timeout", optarg);
            break;
        case 'l':
            options.close = close_mode(optarg);
            break;
        case 'r':
            options.close_rate = optarg == std::string_view{"all"} ? 0 : count("close-rate", optarg, 1000000);
            break;
        case 'e':
            options.echo = true;
            break;
        case 's':
            options.sources.count = count("sources", optarg, 1U << 20);
            break;
        case 'f':
            options.sources.first = first_source(optarg);
            options.sources.routed = true;
            break;
        case 'p':
            options.sources.step = count("step", optarg, 1U << 16);
            break;
        case 'R':
            options.rate = count("rate", optarg, 1000000);
            break;
        case 'y':
            options.say = say_mode(optarg);
            break;
        case 'h':
            fmt::print("{}", help);
            std::exit(0);
        default:
            fmt::print(stderr, "Try 'cloister-load --help'.\n");
            std::exit(usage_error);
        }
    }
    if (argc - optind != 2) {
        wrong("one mode and one target are needed");
    }
    for (const Mode& one : modes) {
        mode = one.name == argv[optind] ? &one : mode;
    }
    if (mode == nullptr) {
        wrong(fmt::format("'{}' is not a mode: rate, idle, stream, pingpong, paced, hold, storm or syn",
                          argv[optind]));
    }
    auto target = parse_target(argv[optind + 1]);
    if (!target) {
        wrong(target.error());
    }
    options.target = std::move(*target);
    options.connections = options.connections == 0 ? mode->connections : options.connections;
    options.bytes = bytes == 0 ? mode->bytes : bytes;
    const bool counted = options.total != 0 || (mode->run == run_stream && bytes != 0);
    options.duration = asked_duration != 0ms ? asked_duration : counted ? 0ms : mode->duration;
    if ((mode->run == run_pingpong || options.echo) && options.bytes > Pattern::longest_piece) {
        wrong(fmt::format("--bytes: at most {} here", Pattern::longest_piece));
    }
    if (mode->run == run_paced && options.bytes > one_segment) {
        wrong(fmt::format("--bytes: at most {} here", one_segment));
    }
    if (options.sources.routed ? options.target.family() != AF_INET : options.sources.count > 250) {
        wrong(options.sources.routed ? "--from: the target must be IPv4, too"
                                     : "--sources: at most 250 without --from");
    }
    if (mode->run == run_syn && !options.sources.routed) {
        wrong("syn: --from is needed");
    }
    if (mode->run == run_pingpong && options.connections != 1) {
        wrong("--connections: pingpong uses one");
    }
    return options;
}

} // namespace

} // namespace cloister::bench

int main(int argc, char** argv) {
    using namespace cloister::bench;
    const Mode* mode = nullptr;
    const Options options = parse_options(argc, argv, mode);
    rlimit files{};
    if (::getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        ::setrlimit(RLIMIT_NOFILE, &files);
    }
    return mode->run(options);
}
