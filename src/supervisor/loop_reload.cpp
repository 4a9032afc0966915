// SPDX-License-Identifier: MIT
//
// The loop's part of a reload: what changed gets a new generation, and what served before goes on until that
// is ready, or for good if it cannot be.
#include "base/cure.h"
#include "supervisor/loop.h"
#include "supervisor/report.h"
#include "supervisor/socket_options.h"

#include <algorithm>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <numeric>

namespace cloister::supervisor {
namespace {

std::string names(const std::vector<std::string>& all) {
    return all.empty() ? "none" : fmt::format("{}", fmt::join(all, ", "));
}

} // namespace

void Loop::reload() {
    if (reload_ || upgrade_) {
        reload_again_ = true;
        log_.write(Record{Level::info, "reload_waits"}.add(
            "message", "a reload or an upgrade is not finished; another one follows it"));
        return;
    }
    if (machine_.stage() == Stage::draining) {
        for (const auto client : std::exchange(wait_for_reload_, {})) {
            control_->end(client, ExitCode::Unavailable, "cloisterd stops");
        }
        return;
    }
    log_.write(Record{Level::info, "reloading"});
    notifier_.send(reloading_state());
    std::vector<std::shared_ptr<const Setup>> setups;
    for (const Entry& service : services_) {
        setups.push_back(service.setup);
    }
    reload_.emplace();
    auto change = prepare_change(config_, setups, host_.file_access, read_config_, open_binary_);
    if (change) {
        apply(std::move(*change));
    } else {
        reload_->failed.push_back(with_cure(change.error().message));
    }
    finish_reload_if_done();
}

void Loop::apply(Change change) {
    std::vector<std::shared_ptr<Setup>> all;
    for (const Change::Service& service : change.services) {
        all.push_back(service.setup);
    }
    share_connections(all);
    for (std::size_t i = 0; i < services_.size(); ++i) {
        Entry& entry = services_[i];
        const auto stays = [&](const std::shared_ptr<Setup>& setup) {
            return setup->service.name == entry.name && entry.listener < setup->service.listeners;
        };
        const bool twice = find_entry(entry.name, entry.listener) != i; // one that an upgrade found draining
        if (entry.setup != nullptr && (twice || std::none_of(all.begin(), all.end(), stays))) {
            if (entry.listener == 0 && !twice) {
                reload_->removed.push_back(entry.name);
            }
            entry.setup.reset(); // its sockets are closed when its generation has been told to drain
            events_.emplace_back(event::Remove{i});
        }
    }
    for (const auto& [setup, before] : change.services) {
        const auto slot = before ? std::optional{setup->log_slot} : free_log_slot();
        if (!slot) {
            reload_->failed.push_back(fmt::format("service {}: more services have been added than there are "
                                                  "pipes for their logs; restart cloisterd",
                                                  setup->service.name));
            close_unused(*setup);
            continue;
        }
        setup->log_slot = *slot;
        for (unsigned listener = 0; listener < setup->service.listeners; ++listener) {
            change_listener(setup, listener);
        }
    }
    config_ = std::move(change.config);
    tell_own_sockets();
}

/// One of the service's listeners, as it is now configured.
void Loop::change_listener(const std::shared_ptr<Setup>& setup, unsigned listener) {
    const std::string& name = setup->service.name;
    const auto found = find_entry(name, listener);
    if (found && same(*services_[*found].setup, *setup)) {
        return;
    }
    // A service of which any listener was there has changed.
    auto& told = found || listener != 0 ? reload_->changed : reload_->added;
    if (found) {
        Entry& entry = services_[*found];
        entry.before = std::exchange(entry.setup, setup);
        entry.fresh = false;
        events_.emplace_back(event::Replace{*found, spec_of(*setup, listener)});
    } else {
        services_.push_back({setup, nullptr, name, listener});
        events_.emplace_back(event::Add{spec_of(*setup, listener)});
    }
    ++reload_->pending;
    const bool added = std::find(reload_->added.begin(), reload_->added.end(), name) != reload_->added.end();
    if (!added && std::find(told.begin(), told.end(), name) == told.end()) {
        told.push_back(name);
    }
}

std::optional<std::size_t> Loop::find_entry(const std::string& name, unsigned listener) const {
    const auto found = std::find_if(services_.begin(), services_.end(), [&](const Entry& entry) {
        return entry.setup != nullptr && entry.name == name && entry.listener == listener;
    });
    return found == services_.end() ? std::nullopt
                                    : std::optional{static_cast<std::size_t>(found - services_.begin())};
}

void Loop::operator()(const action::Replaced& replaced) {
    Entry& entry = services_[replaced.service];
    if (std::exchange(entry.fresh, false)) {
        return;
    }
    entry.before.reset(); // it drains
    if (reload_ && reload_->pending != 0) {
        --reload_->pending;
    }
    finish_reload_if_done();
}

void Loop::operator()(const action::NotReplaced& failed) {
    Entry& entry = services_[failed.service];
    if (std::exchange(entry.fresh, false)) {
        return;
    }
    const auto refused = std::exchange(entry.setup, std::exchange(entry.before, nullptr));
    if (refused != nullptr) {
        close_unused(*refused);
    }
    if (entry.setup != nullptr &&
        entry.setup->binary != nullptr) { // the options of the sockets are the old ones
        for (const auto& socket : entry.setup->sockets) {
            (void)set_options(*socket, socket->name, entry.setup->service);
        }
    }
    tell_own_sockets();
    if (reload_ && reload_->pending != 0) {
        --reload_->pending;
        reload_->failed.push_back(fmt::format("service {}: {}", entry.name, with_cure(failed.message)));
        std::erase(reload_->changed, entry.name);
        std::erase(reload_->added, entry.name);
    }
    finish_reload_if_done();
}

void Loop::finish_reload_if_done() {
    if (!reload_ || reload_->pending != 0) {
        return;
    }
    const Reload done = *std::exchange(reload_, std::nullopt);
    const bool failed = !done.failed.empty();
    const std::string from = std::exchange(upgraded_from_, {});
    Record record = !from.empty() && failed ? Record{Level::error, "upgrade_failed"}
                    : !from.empty()         ? Record{Level::info, "upgraded"}
                    : failed                ? Record{Level::error, "reload_failed"}
                                            : Record{Level::info, "reloaded"};
    if (!from.empty()) {
        record.add("from", from).add("version", control::own_build().name());
    }
    record.add("changed", done.changed).add("added", done.added).add("removed", done.removed);
    if (failed) {
        record.add("message", fmt::format("{}; what served before goes on", fmt::join(done.failed, "; ")));
    }
    log_.write(record);
    reload_ended(!failed);
    notifier_.send("READY=1\n" + status_line());
    const auto text = failed ? fmt::format("{}; what served before goes on", fmt::join(done.failed, "; "))
                             : fmt::format("changed: {}; added: {}; removed: {}", names(done.changed),
                                           names(done.added), names(done.removed));
    if (!reload_again_) { // else they asked for the next one
        for (const auto client : std::exchange(wait_for_reload_, {})) {
            control_->end(client, failed ? ExitCode::Config : ExitCode::Ok, text);
        }
    }
    if (std::exchange(reload_again_, false)) {
        reload();
    } else if (std::exchange(upgrade_again_, false)) {
        upgrade();
    }
}

/// Closes those sockets of `setup` that no service has any more.
void Loop::close_unused(const Setup& setup) {
    std::vector<std::shared_ptr<ListeningSocket>> unused;
    for (const auto& socket : setup.sockets) {
        const bool used = std::any_of(services_.begin(), services_.end(), [&](const Entry& service) {
            const auto has = [&](const std::shared_ptr<const Setup>& one) {
                return one != nullptr &&
                       std::find(one->sockets.begin(), one->sockets.end(), socket) != one->sockets.end();
            };
            return has(service.setup) || has(service.before);
        });
        if (!used) {
            unused.push_back(socket);
        }
    }
    close_sockets(unused);
}

/// The limits of the system are those of all services together.
void Loop::share_connections(std::span<const std::shared_ptr<Setup>> setups) {
    bounds_ = bounds_of(setups);
    report_limits(log_, setups, bounds_);
    std::vector<unsigned> wanted;
    for (const auto& setup : setups) {
        wanted.push_back(setup->service.max_connections);
    }
    const unsigned total = std::accumulate(wanted.begin(), wanted.end(), 0U);
    const auto connections = shares(wanted, allowed_connections(total, bounds_));
    for (std::size_t i = 0; i < setups.size(); ++i) {
        setups[i]->max_connections = connections[i];
    }
}

/// Each listener must know the sockets of all services, to refuse a loop.
void Loop::tell_own_sockets() {
    std::vector<control::OwnSocket> own;
    for (std::size_t i = 0; i < services_.size(); ++i) {
        if (const auto& setup = services_[i].setup; setup != nullptr && is_first(i)) {
            const auto its = own_sockets(*setup);
            own.insert(own.end(), its.begin(), its.end());
        }
    }
    for (std::size_t i = 0; i < services_.size(); ++i) {
        if (const auto& setup = services_[i].setup; setup != nullptr && is_first(i)) {
            setup->shared->write_own_sockets(own);
        }
    }
}

/// One that no service and no generation uses.
std::optional<unsigned> Loop::free_log_slot() const {
    for (unsigned slot = 0; slot < relay_.services(); ++slot) {
        const bool by_service = std::any_of(services_.begin(), services_.end(), [&](const Entry& service) {
            return service.setup != nullptr && service.setup->log_slot == slot;
        });
        const bool by_generation = std::any_of(running_.begin(), running_.end(), [&](const auto& running) {
            return running.second.generation.setup().log_slot == slot;
        });
        if (!by_service && !by_generation) {
            return slot;
        }
    }
    return {};
}

void Loop::operator()(const action::SayReplaceWaits& waits) {
    log_.write(
        Record{Level::warning, "reload_waits"}
            .add("service", name_of(waits.service))
            .add("message", fmt::format("{} generations of the service still have connections; the new "
                                        "one starts when one of them has ended (--lifetime bounds it)",
                                        machine_.draining(waits.service))));
}

} // namespace cloister::supervisor
