// SPDX-License-Identifier: MIT
#include "supervisor/resume.h"

#include "supervisor/bind.h"

#include <map>
#include <netinet/in.h>

namespace cloister::supervisor {
namespace {

tl::expected<ListeningSocket, Failure> take_over(const Handover::Socket& from) {
    ListeningSocket socket{};
    socket.fd.reset(from.fd);
    socket.is_unix = from.is_unix;
    socket.activated = from.activated;
    socket.requested = from.requested;
    socket.name = from.requested;
    socket.path.directory.reset(from.directory);
    socket.path.name = from.file;
    socket.path.device = static_cast<dev_t>(from.device);
    socket.path.inode = static_cast<ino_t>(from.inode);
    if (auto failure = read_bound_address(socket)) {
        return tl::unexpected(std::move(*failure));
    }
    return socket;
}

} // namespace

tl::expected<Resumed, Failure> take_over(const Handover& state) {
    Resumed resumed;
    std::map<int, std::shared_ptr<SharedMemory>> memories; // by descriptor
    std::map<int, std::shared_ptr<ListeningSocket>> sockets;
    for (const Handover::Service& service : state.services) {
        auto setup = std::make_shared<Setup>();
        setup->service.name = service.name;
        setup->log_slot = service.log_slot;
        auto& memory = memories[service.shared];
        if (memory == nullptr) {
            auto shared = SharedMemory::adopt(Fd{service.shared});
            if (!shared) {
                return tl::unexpected(shared.error());
            }
            memory = std::make_shared<SharedMemory>(std::move(*shared));
        }
        setup->shared = memory;
        for (const Handover::Socket& from : service.sockets) {
            auto& known = sockets[from.fd];
            if (known == nullptr) {
                auto socket = take_over(from);
                if (!socket) {
                    return tl::unexpected(socket.error());
                }
                known = std::make_shared<ListeningSocket>(std::move(*socket));
            }
            setup->sockets.push_back(known);
        }
        resumed.setups.push_back(std::move(setup));
    }
    if (state.control) {
        auto socket = take_over(*state.control);
        if (!socket) {
            return tl::unexpected(socket.error());
        }
        resumed.control = ControlSocket::adopt(std::move(*socket));
    }
    return resumed;
}

} // namespace cloister::supervisor
