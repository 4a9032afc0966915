// SPDX-License-Identifier: MIT
//
// The input is a unit file; importer.h says what must hold.
#include "importer.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    cloister::fuzz::import_and_back(cloister::audit::Format::systemd, cloister::audit::Target::systemd, data,
                                    size);
    return 0;
}
